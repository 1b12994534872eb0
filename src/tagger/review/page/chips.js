// The tags of the README that is shown, each a box to mark.

import { $, el, share } from "./dom.js";
import { tagOf } from "./vocabulary.js";

const DIGITS = 9;

/** Whether tags were marked or unmarked by hand, but not accepted yet. */
let touched = false;

/** Whether the next best tags may come yet. */
let waiting = true;

const boxes = () => [...$("#tags").querySelectorAll(".chip input")];

/** Return the ids of the tags that are marked. */
export const marked = () => boxes().filter((box) => box.checked).map((box) => box.value);

/** Show a README's tags: as decided or suggested or, to keep what was done by hand, as they are. */
export function showChips(item, { keep = false } = {}) {
  const given = item.suggestions.filter((tag) => tag.given);
  const rest = item.suggestions.filter((tag) => !tag.given);
  const first = item.state === "reviewed" ? item.decided : given;
  const ids = keep && touched ? marked() : first.map((tag) => tag.id);
  touched &&= keep;

  const known = new Set(item.suggestions.map((tag) => tag.id));
  const added = ids.filter((id) => !known.has(id)).map((id) => ({ ...tagOf(id), confidence: null }));
  const numbers = new Map(item.suggestions.slice(0, DIGITS).map((tag, place) => [tag.id, place + 1]));
  const chips = (tags) => tags.map((tag) => chip(tag, numbers.get(tag.id), ids.includes(tag.id)));
  const none = el("p", { class: "nothing" }, item.error ? "This README could not be tagged." : "No tag reached the threshold.");
  $("#given .chips").replaceChildren(...(given.length + added.length ? chips([...given, ...added]) : [none]));
  const coming = el("p", { class: "nothing" }, "Being looked up …");
  $("#next .chips").replaceChildren(...(rest.length || !waiting ? chips(rest) : [coming]));
  $("#next").hidden = rest.length === 0 && !waiting;
  $("#accept").textContent = item.state === "reviewed" ? "Save" : "Accept";
  showAccept();
}

/** Stop to announce the next best tags, which are there or will never be. */
export function stopWaiting() {
  waiting = false;
}

function chip(tag, number, checked) {
  const box = el("input", { type: "checkbox", value: tag.id, "aria-keyshortcuts": number });
  box.checked = checked;
  return el(
    "label",
    { class: "chip", title: tagOf(tag.id)?.description || undefined },
    box,
    ...(number ? [el("kbd", { "aria-hidden": "true" }, String(number))] : []),
    el("span", {}, tag.name),
    ...(tag.confidence === null ? [] : [el("span", { class: "sure" }, share(tag.confidence))]),
  );
}

/** Mark a tag of the vocabulary, or unmark it. */
export function add(id) {
  const box = boxes().find((each) => each.value === id);
  if (box) box.checked = !box.checked;
  else {
    $("#given .nothing")?.remove();
    $("#given .chips").append(chip({ ...tagOf(id), confidence: null }, undefined, true));
  }
  change();
}

/** Mark the tag that a digit stands for, or unmark it. */
export function toggle(number) {
  const box = boxes().find((each) => each.getAttribute("aria-keyshortcuts") === String(number));
  if (box) {
    box.checked = !box.checked;
    change();
  }
}

function change() {
  touched = true;
  showAccept();
}

function showAccept() {
  $("[data-act=accept]").disabled = marked().length === 0;
}

for (const name of ["#given", "#next"]) $(name).addEventListener("change", change);
