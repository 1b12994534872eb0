// The list of tags, and the search over it.

import { $, el } from "./dom.js";

const MOST = 8;

/** Return the form in which names are compared, whatever their case and their way of encoding. */
const fold = (text) => text.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC").replaceAll("ς", "σ").trim();

let tags = [];
let byId = new Map();
let byName = new Map();

export function setTags(given) {
  tags = given.map((tag) => ({
    ...tag,
    words: [tag.name, ...tag.aliases].map(fold),
    about: fold(tag.description),
  }));
  byId = new Map(tags.map((tag) => [tag.id, tag]));
  byName = new Map(tags.map((tag) => [tag.words[0], tag]));
  $("#names").replaceChildren(...tags.map((tag) => el("option", { value: tag.name })));
}

export const tagOf = (id) => byId.get(id);
export const tagNamed = (name) => byName.get(fold(name));

/** Find tags: first those that begin with the text, then those that hold it. */
function find(text) {
  const wanted = fold(text);
  if (!wanted) return [];
  const rank = (tag) => {
    if (tag.words.includes(wanted)) return 0;
    if (tag.words[0].startsWith(wanted)) return 1;
    if (tag.words.some((word) => word.startsWith(wanted))) return 2;
    if (tag.words.some((word) => word.includes(wanted))) return 3;
    return tag.about.includes(wanted) ? 4 : 5;
  };
  const ranked = tags.map((tag) => [rank(tag), tag]).filter(([place]) => place < 5);
  return ranked.sort(([one], [other]) => one - other).slice(0, MOST).map(([, tag]) => tag);
}

/** Let people find a tag by the keyboard: a combobox with a list. */
export function searchable(choose, leave) {
  const input = $("#search");
  const list = $("#found");
  let found = [];
  let at = 0;

  function show() {
    found = find(input.value);
    at = Math.min(at, Math.max(found.length - 1, 0));
    list.replaceChildren(...found.map((tag, place) => el(
      "li",
      { role: "option", id: `found-${place}`, "aria-selected": place === at, "data-id": tag.id },
      tag.name,
      ...(tag.description ? [el("small", {}, tag.description)] : []),
    )));
    for (const [place, option] of [...list.children].entries()) option.setAttribute("aria-selected", place === at);
    list.hidden = found.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
    if (list.hidden) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `found-${at}`);
    list.children[at]?.scrollIntoView({ block: "nearest" });
  }

  function close() {
    input.value = "";
    at = 0;
    show();
    leave();
  }

  input.addEventListener("input", () => { at = 0; show(); });
  input.addEventListener("blur", () => { input.value = ""; at = 0; show(); });
  input.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && found.length) {
      at = (at + steps[event.key] + found.length) % found.length;
      show();
    } else if (event.key === "Enter") {
      if (found.length) choose(found[at].id);
      if (found.length || !input.value) close();
    } else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  // Not `click`: the field must not lose the focus first.
  list.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    const option = event.target.closest("li");
    if (option) { choose(option.dataset.id); close(); }
  });
}
