// Going through READMEs one by one. A decision is on disk before the next README is shown.

import { add, marked, showChips, stopWaiting, toggle } from "./chips.js";
import { setUpDialogs } from "./dialogs.js";
import { $, complain, count, el, get, post, say } from "./dom.js";
import { showStatistics, showTag } from "./figures.js";
import { searchable, setTags, tagNamed, tagOf } from "./vocabulary.js";

const filter = $("#filter");

/** The README that is shown; null at the end. */
let item = null;
/** Those that this tab has shown, by their ids, and the place of the one that it shows now. */
let shown = [];
let at = -1;
/** What the server says comes once this one is answered; null if that is not known yet. */
let ahead = null;
/** How often that was asked: an answer to an earlier question counts no more. */
let asked = 0;
/** What is being done, as a promise; null if nothing is. */
let running = null;
/** Until when keys do nothing, because one was pressed too soon. */
let ignoredUntil = 0;

/** Which READMEs are gone through, and in which order: the filter as it was when it was valid. */
let chosen = {};
const work = () => chosen;

function choose() {
  const values = Object.fromEntries(new FormData(filter));
  chosen = { ...values, tag: tagNamed(values.tag)?.id };
}

/* The address keeps the order, the filter and the README, so that a tab that is opened again goes on. */

function remember() {
  const { tag, ...values } = work();
  const kept = Object.entries({ ...values, tag, id: item?.id }).filter(([, value]) => value);
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const name of ["order", "state", "text"]) if (kept.has(name)) filter[name].value = kept.get(name);
  filter.tag.value = tagOf(kept.get("tag"))?.name ?? "";
  choose();
  return kept;
}

/* What is seen. */

function show(answer) {
  item = answer.item;
  asked += 1;
  ahead = null;
  showProgress(answer.states);
  $("#columns").hidden = item === null;
  $("#end").hidden = item !== null;
  if (item === null) showEnd();
  else {
    if (shown[at] !== item.id) {
      shown = [...shown.slice(0, at + 1), item.id];
      at = shown.length - 1;
    }
    $("#title").textContent = $("#title").title = item.name;
    document.title = `${item.name} – tagger review`;
    showAbout();
    showReadme();
    showChips(item);
    showPlace();
    scrollTo(0, 0);
    $("#title").focus({ preventScroll: true });
    prefetch();
  }
  if ($("#figures").hidden) remember();
  else route();
}

/** Say where in the order of work this is; where decided ones drop out, how many are left. */
function showPlace() {
  const { position, total } = item;
  const place = `${count(position)} of ${count(total)}`;
  $("#place").textContent = position ? (work().state === "open" ? `${count(total)} left` : place) : "";
}

function showProgress(states) {
  const { open = 0, reviewed = 0, skipped = 0 } = states;
  const all = open + reviewed + skipped;
  $("#progress").max = Math.max(all, 1);
  $("#progress").value = reviewed + skipped;
  $("#counts").textContent = `${count(reviewed)} of ${count(all)} reviewed`;
}

function showAbout() {
  const marks = [];
  const mark = (text, title, bad = false) =>
    marks.push(el("span", { class: bad ? "mark bad" : "mark", title }, text));
  if (item.state === "reviewed") mark(item.selected === "bulk" ? "reviewed in bulk" : "reviewed", "This README was decided; accept it again to change that.");
  if (item.state === "skipped") mark("skipped", "This README was skipped.");
  if (item.selected === "random") mark("random slice", "Part of the random slice, from which the statistics come.");
  if (item.suspicious) mark("suspicious", "Parts of this README address whoever tags it.", true);
  if (item.changed) mark("changed", "This is not the text that was tagged: it has changed since.", true);
  if (item.error) mark("failed", "This README could not be tagged.", true);
  const place = item.place.endsWith(item.id) ? "" : item.place;
  $("#about").replaceChildren(...marks, [item.error, place].filter(Boolean).join(" – "));
}

function showReadme() {
  const readme = $("#readme");
  if (item.html === null) {
    readme.replaceChildren(el("p", { class: "nothing" }, "The text of this README was not found. What you decide is kept, but cannot be exported or learned from until the text is found."));
    return;
  }
  // Sanitised by the server; and the page's policy lets nothing of it run or load.
  readme.innerHTML = item.html;
  if (!item.whole) readme.append(el("p", { class: "nothing" }, "Only the beginning is shown."));
}

function showEnd() {
  const { order, state } = work();
  const what = { failed: "No README failed", suspicious: "No README is suspicious" }[order];
  $("#end p").textContent = what ?? (state === "open"
    ? "Every README of this choice is decided or skipped."
    : "There are no more READMEs of this choice.");
  $("#place").textContent = "";
  document.title = "tagger review";
  $("#end h2").focus();
}

/** Fetch the README that comes next while this one is read. */
function prefetch() {
  const mine = ++asked;
  ahead = null;
  setTimeout(async () => {
    if (mine !== asked || at < shown.length - 1) return;
    const answer = await get("next", { ...work(), id: item.id }).catch(() => null);
    if (mine === asked) ahead = answer;
  }, 50);
}

/* What is done. */

/**
 * Do one thing at a time; what goes wrong is shown, and the README stays. A key that is pressed
 * while another is dealt with does nothing: it was meant for what is not shown yet.
 */
function during(act, patient = false) {
  if (running) return patient ? running.then(() => during(act, true)) : undefined;
  running = attempt(act).finally(() => { running = null; });
  return running;
}

async function attempt(act) {
  $("#columns").setAttribute("aria-busy", "true");
  try {
    await act();
    complain(null);
  } catch (error) {
    if (error.item) await reshow();
    complain(error);
  } finally {
    $("#columns").setAttribute("aria-busy", "false");
  }
}

/** Show the README again, as it is now. */
async function reshow() {
  show(await get("item", { ...work(), id: item.id }));
}

/**
 * Show new suggestions for the README, and keep what was marked by hand. This happens in the
 * background: no key waits for it, and what is complained of stays in sight.
 */
async function refreshSuggestions() {
  // What was fetched ahead has the old suggestions.
  asked += 1;
  ahead = null;
  if (!item) return;
  const { id, revision } = item;
  const answer = await get("item", { ...work(), id });
  if (item?.id !== id || item.revision !== revision) return;
  item = answer.item;
  showChips(item, { keep: true });
  prefetch();
}

/** Tell the server what was decided and, once that is on disk, go on. */
async function settle(path, values = {}) {
  const next = at === shown.length - 1 ? ahead : null;
  const { id, revision } = item;
  const answer = await post(path, { ...work(), id, revision, ...values, ahead: next !== null });
  if (at < shown.length - 1) await forward();
  else show(next ? { item: next.item, states: answer.states } : answer);
}

/** Show the README that this tab has shown after this one. */
async function forward() {
  at += 1;
  show(await get("item", { ...work(), id: shown[at] }));
}

const decide = (tags) => item && during(async () => {
  const names = tags.map((id) => tagOf(id)?.name ?? id).join(", ");
  await settle("decide", { tags });
  say(tags.length ? `Accepted: ${names}` : "Noted: no tag fits", true);
});

const acts = {
  accept() {
    const tags = marked();
    if (tags.length) decide(tags);
    else if (item) say("No tag is marked. Press 0 if none fits, S to skip.");
  },
  none: () => decide([]),
  skip: () => item && during(async () => {
    await settle("skip");
    say("Skipped", true);
  }),
  undo: () => during(async () => {
    const answer = await post("undo", work());
    if (answer.item === null) { say("Nothing is left to undo."); return; }
    at = shown.lastIndexOf(answer.item.id);
    if (at < 0) at = shown.length - 1;
    show(answer);
    say("Undone");
  }),
  next: () => item && during(async () => {
    if (at < shown.length - 1) { await forward(); return; }
    const { selected, state } = item;
    show(await post("pass", { ...work(), id: item.id }));
    if (selected === "random" && state === "open") say("Passed over for now. READMEs of the random slice come back until you answer or skip them.");
  }),
  previous: () => during(async () => {
    const back = item ? at - 1 : at;
    if (back >= 0) {
      at = back;
      show(await get("item", { ...work(), id: shown[at] }));
      return;
    }
    const answer = item && await get("previous", { ...work(), id: item.id });
    if (!answer?.item) { say("This is the first one."); return; }
    shown = [answer.item.id, ...shown];
    at = 0;
    show(answer);
  }),
  everything() {
    filter.order.value = "uncertain";
    filter.state.value = "all";
    filter.tag.value = filter.text.value = "";
    begin();
  },
  statistics: () => { location.hash = "view=statistics"; },
};

async function showFirst() {
  shown = [];
  at = -1;
  show(await get("next", work()));
}

/** Begin again with the first README of the order and filter. */
const begin = () => during(async () => {
  choose();
  await showFirst();
}, true);

/* Keys and buttons. */

/**
 * Whether a key was pressed before what it was meant for is shown. Then those that follow it in the
 * same breath do nothing either: Enter would accept what the lost key was to change.
 */
function pressedTooSoon() {
  const now = performance.now();
  if (!running && now > ignoredUntil) return false;
  ignoredUntil = now + 500;
  say("Keys were pressed before the README was shown, and did nothing.");
  return true;
}

const KEYS = {
  Enter: "accept", 0: "none", s: "skip", u: "undo", ArrowLeft: "previous", ArrowRight: "next",
  t: "statistics", b: "bulk", l: "learn", "?": "help",
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  const writing = target.matches("select, input:not([type=checkbox])");
  if (key === "Escape") {
    if (writing) $("#title").focus();
    else if (!$("#figures").hidden) location.hash = "";
    return;
  }
  if (writing || (key === "Enter" && target.matches("button, a, summary"))) return;
  const name = key.length === 1 ? key.toLowerCase() : key;
  const act = key === "Enter" && event.shiftKey ? undefined : KEYS[name];
  if ((act || /^[1-9]$/.test(name)) && !event.repeat && pressedTooSoon()) {
    event.preventDefault();
    return;
  }
  if (!$("#figures").hidden && !["bulk", "learn", "help", "statistics"].includes(act)) return;
  if (act) { if (!event.repeat) acts[act](); }
  else if (name === "/") $("#search").focus();
  else if (name === "f") filter.order.focus();
  else if (/^[1-9]$/.test(name)) toggle(Number(name));
  else return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (button && button.type !== "submit") acts[button.dataset.act]();
});
$("#tags").addEventListener("submit", (event) => { event.preventDefault(); acts.accept(); });
filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("change", (event) => {
  const unknown = filter.tag.value.trim() && !tagNamed(filter.tag.value);
  filter.tag.setCustomValidity(unknown ? "The list has no such tag." : "");
  if (filter.reportValidity()) begin();
});

// On a phone, where the tags are at the bottom, messages are shown above them.
new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty("--below", `${target.offsetHeight}px`);
}).observe($("#tags"));

/* Views. */

async function route() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const view = kept.get("view");
  $("#work").hidden = Boolean(view);
  $("#figures").hidden = !view;
  $("[data-act=statistics]").toggleAttribute("aria-current", Boolean(view));
  if (view) {
    say("");
    try {
      await (view === "tag" ? showTag(kept.get("tag")) : showStatistics());
      complain(null);
    } catch (error) { complain(error); }
  } else if (item && (kept.has("id") || !kept.size)) await during(reshow, true);
  else await start();
}

/** Go on where this tab was, or begin. */
const start = () => during(async () => {
  const id = recall().get("id");
  const answer = id && await get("item", { ...work(), id }).catch(() => null);
  if (answer) show(answer);
  else await showFirst();
}, true);

addEventListener("hashchange", route);
setUpDialogs(acts, { work, begin, refreshSuggestions });
searchable(add, () => $("#title").focus({ preventScroll: true }));

try {
  const session = await get("session");
  setTags(session.tags);
  $("#output").textContent = session.name;
  await route();
  // The next best tags need what ranks tags, which takes seconds to open.
  await post("prepare").finally(stopWaiting);
  await refreshSuggestions();
} catch (error) {
  complain(error);
}
