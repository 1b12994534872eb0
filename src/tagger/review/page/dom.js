// What the other modules share: elements, requests, and numbers as they are written.

export const $ = (selector, within = document) => within.querySelector(selector);

/** Make an element. Text is text, never markup. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Ask the server. Throws an Error with a message for people; `item` is set if it was stale. */
async function ask(path, options) {
  let response;
  let answer;
  try {
    response = await fetch(`/api/${path}`, options);
    answer = response.status === 403 ? {} : await response.json();
  } catch {
    throw new Error("tagger does not answer: start it again. What was decided is on disk.");
  }
  if (response.ok) return answer;
  const message = answer.error ?? "This page's address has expired: open the one that tagger has printed.";
  throw Object.assign(new Error(message), { item: answer.item });
}

export function get(path, values = {}) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return ask(`${path}?${new URLSearchParams(given)}`, {});
}

export function post(path, values = {}) {
  return ask(path, { method: "POST", body: JSON.stringify(values) });
}

export const count = (number) => number.toLocaleString("en");

export const readmes = (number) => `${count(number)} README${number === 1 ? "" : "s"}`;

/** Write a share or a confidence: .93 */
export const share = (number) => number.toFixed(2).replace(/^0/, "");

/** Write a share with its interval. */
export const rate = (known) => known ? `${share(known.share)} (${share(known.low)} to ${share(known.high)})` : "–";

/** Announce what was done, with a button to undo it if that can be done. */
export function say(text, undo = false) {
  const status = $("#status");
  $("span", status).textContent = text;
  $("button", status).hidden = !undo;
  status.classList.toggle("shown", text !== "");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => status.classList.remove("shown"), 6000);
}

/** Tell of what went wrong, until the next thing succeeds. */
export function complain(error) {
  $("#alert").textContent = error?.message ?? "";
}
