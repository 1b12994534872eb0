// What the random slice says, as a whole and by tag.

import { $, count, el, get, rate, share } from "./dom.js";
import { tagOf } from "./vocabulary.js";

const SVG = "http://www.w3.org/2000/svg";
/** Tags of the slice below which their calibration cannot be told from chance. */
const FEW = 50;
const SLICE = "The slice is drawn at random, whatever the order of work: the first 50 READMEs that you answer, and then every fifth.";

export async function showStatistics() {
  const known = await get("statistics");
  const { open = 0, reviewed = 0, skipped = 0 } = known.states;
  const parts = [
    el("h2", { tabindex: "-1" }, "Statistics"),
    numbers([
      ["reviewed", count(reviewed), known.bulk ? `${count(known.bulk)} in bulk` : ""],
      ["skipped", count(skipped)],
      ["open", count(open)],
      ["failed", count(known.failed)],
      ["suspicious", count(known.suspicious)],
    ]),
    el("h3", {}, slice(known)),
    el("p", { class: "faint" }, SLICE, known.passed_over ? " Those that were passed over are drawn again first." : ""),
    numbers([
      ["first tag right", ...apart(known.first)],
      ["given tags right", ...apart(known.given)],
    ]),
  ];
  const judged = known.calibration.reduce((sum, [, , number]) => sum + number, 0);
  if (judged >= FEW) parts.push(el("h3", {}, "Calibration"), chart(known.calibration));
  if (known.tags.length) parts.push(el("h3", {}, "By tag"), table(known.tags));
  replace(parts, "Statistics");
}

/** Say how much of the random slice is answered: what was left out may be what is hard. */
function slice({ sampled, passed_over: passedOver, skipped }) {
  const missing = [passedOver && `${count(passedOver)} passed over`, skipped && `${count(skipped)} skipped`];
  return [`Random slice: ${count(sampled)} reviewed`, ...missing.filter(Boolean)].join(", ");
}

export async function showTag(id) {
  const known = await get("statistics");
  const tag = tagOf(id);
  const own = known.tags.find((each) => each.id === id);
  const title = tag?.name ?? id;
  const link = (state, text) => el("a", { href: `#${new URLSearchParams({ tag: id, state, order: "uncertain" })}` }, text);
  replace([
    el("p", {}, el("a", { href: "#view=statistics" }, "← Statistics")),
    el("h2", { tabindex: "-1" }, title),
    el("p", { class: "faint" }, [tag?.description, tag?.aliases.length ? `also: ${tag.aliases.join(", ")}` : ""].filter(Boolean).join("; ")),
    numbers([
      ["suggested", count(own?.suggested ?? 0)],
      ["decided", count(own?.decided ?? 0)],
      ["right where suggested", ...apart(own?.precision)],
      ["suggested where right", ...apart(own?.recall)],
    ]),
    el("p", { class: "faint" }, "The two rates are of the random slice."),
    el("p", {}, link("open", "Review open READMEs with this tag"), " · ", link("all", "see all of them")),
  ], title);
}

function replace(parts, title) {
  $("#figures").replaceChildren(...parts);
  document.title = `${title} – tagger review`;
  scrollTo(0, 0);
  $("#figures h2").focus();
}

/** Split a rate into its value and its interval. */
const apart = (known) => known
  ? [share(known.share), `${share(known.low)} to ${share(known.high)}, of ${count(known.of)}`]
  : ["–", "nothing known yet"];

function numbers(rows) {
  return el("dl", { class: "numbers" }, ...rows.map(([name, value, beside]) => el(
    "div", {}, el("dt", {}, name), el("dd", {}, value), ...(beside ? [el("dd", {}, beside)] : []),
  )));
}

/** Show how sure the confidences of tags were, and how often they were right. */
function chart(bins) {
  return el("div", { class: "chart" }, plot(bins), el("div", {}, ...bins.map(([stated, right, number]) => el(
    "p", { class: "faint" }, `${share(right)} of ${count(number)} tags with confidences about ${share(stated)} were right`,
  ))));
}

/** Draw how often tags were right against how sure their confidences were. */
function plot(bins) {
  const [size, left, bottom] = [200, 42, 210];
  const x = (value) => left + value * size;
  const y = (value) => bottom - value * size;
  const part = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };
  const svg = part("svg", { class: "plot", "aria-hidden": "true", viewBox: "0 0 260 250" });
  for (const value of [0, 0.5, 1]) {
    svg.append(
      part("path", { d: `M${x(0)} ${y(value)}H${x(1)}M${x(value)} ${y(0)}V${y(1)}` }),
      part("text", { x: x(value), y: bottom + 16, "text-anchor": "middle" }, String(value)),
      part("text", { x: left - 7, y: y(value) + 4, "text-anchor": "end" }, String(value)),
    );
  }
  svg.append(part("path", { class: "even", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` }));
  for (const [stated, right] of bins) svg.append(part("circle", { cx: x(stated), cy: y(right), r: 4 }));
  const middle = { "text-anchor": "middle" };
  svg.append(part("text", { ...middle, x: x(0.5), y: bottom + 34 }, "mean confidence"));
  svg.append(part("text", { ...middle, transform: `translate(10 ${y(0.5)}) rotate(-90)` }, "share that is right"));
  return svg;
}

const COLUMNS = [
  ["tag", (tag) => tag.name],
  ["suggested", (tag) => tag.suggested],
  ["decided", (tag) => tag.decided],
  ["right where suggested", (tag) => tag.precision?.share ?? -1],
  ["suggested where right", (tag) => tag.recall?.share ?? -1],
];

/** Make a table of tags; a heading sorts by its column. */
function table(tags) {
  const body = el("tbody");
  const headings = COLUMNS.map(([name], place) => {
    const button = el("button", { type: "button" }, name);
    const heading = el("th", { scope: "col" }, button);
    button.addEventListener("click", () => sort(place, heading));
    return heading;
  });

  function sort(place, heading) {
    const before = heading.getAttribute("aria-sort");
    const rising = before ? before === "descending" : place === 0;
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const key = COLUMNS[place][1];
    const sorted = [...tags].sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      return (rising ? 1 : -1) * (typeof a === "string" ? a.localeCompare(b) : a - b);
    });
    body.replaceChildren(...sorted.map(row));
  }

  const row = (tag) => el(
    "tr",
    {},
    el("td", {}, el("a", { href: `#${new URLSearchParams({ view: "tag", tag: tag.id })}` }, tag.name)),
    ...[count(tag.suggested), count(tag.decided), rate(tag.precision), rate(tag.recall)].map((text) => el("td", {}, text)),
  );
  sort(1, headings[1]);
  return el("table", { class: "figures" }, el("thead", {}, el("tr", {}, ...headings)), body);
}
