// Decisions about many READMEs at once, learning, and help.

import { $, complain, count, el, get, post, rate, readmes, say, share } from "./dom.js";
import { tagNamed, tagOf } from "./vocabulary.js";

export function setUpDialogs(acts, { work, begin, refreshSuggestions }) {
  const open = (name) => () => $(name).showModal();
  acts.help = open("#help");
  acts.bulk = () => { open("#bulk")(); within(); refresh(); };
  acts.learn = () => {
    if (!learning) {
      $("#learned").replaceChildren();
      $("#learn-now").hidden = false;
    }
    open("#learn")();
  };

  /** Whether this tab has asked to learn, and has no answer yet. */
  let learning = false;

  /* Many at once. */

  const accept = $("#bulk-accept");
  const replace = $("#bulk-replace");
  let asked = 0;

  function within() {
    const { order, state, tag, text } = work();
    const parts = [
      { failed: "that failed", suspicious: "that are suspicious", random: "that have suggestions" }[order],
      tag && `with the tag ${tagOf(tag).name}`,
      text && `with the text “${text}”`,
    ];
    const what = [`${state === "all" ? "" : `${state} `}READMEs`, ...parts.filter(Boolean)].join(" ");
    const note = state === "open" ? "" : " Only those that are open can be accepted.";
    $("#within").textContent = `Applies to ${what}, as chosen above the README.${note}`;
  }

  const wanted = () => ({
    above: accept.above.valueAsNumber,
    old: tagNamed(replace.old.value)?.id,
    new: tagNamed(replace.new.value)?.id,
  });

  /** Count anew what each button would do. */
  async function refresh() {
    const mine = ++asked;
    const { above, old } = wanted();
    try {
      const ask = (path, known, values) => known ? get(path, { ...work(), ...values }) : { count: 0 };
      const [accepted, replaced] = await Promise.all([
        ask("accept", accept.checkValidity(), { above }),
        ask("replace", old !== undefined, { old }),
      ]);
      if (mine !== asked) return;
      label($("button", accept), "Accept", accepted.count, true);
      label($("button", replace), "Replace in", replaced.count, wanted().new !== undefined && wanted().new !== old);
    } catch (error) { complain(error); }
  }

  function label(button, verb, number, possible) {
    button.textContent = `${verb} ${readmes(number)}`;
    button.disabled = number === 0 || !possible;
  }

  async function act(event, path, values, done) {
    event.preventDefault();
    $("#bulk").close();
    try {
      const answer = await post(path, { ...work(), ...values });
      complain(null);
      await begin();
      say(done(answer.count), true);
    } catch (error) { complain(error); }
  }

  for (const form of [accept, replace]) form.addEventListener("input", refresh);
  accept.addEventListener("submit", (event) =>
    act(event, "accept", { above: wanted().above }, (number) => `Accepted ${readmes(number)}`));
  replace.addEventListener("submit", (event) => {
    const { old, new: instead } = wanted();
    act(event, "replace", { old, new: instead }, (number) =>
      `Replaced ${tagOf(old).name} by ${tagOf(instead).name} in ${readmes(number)}`);
  });

  /* Learning. */

  $("#learn-now").addEventListener("click", async () => {
    const button = $("#learn-now");
    if (learning) {
      $("#learned").replaceChildren(el("p", {}, "Learning is already under way. The result will be shown here."));
      return;
    }
    learning = true;
    $("#learned").replaceChildren(el("p", {}, "Learning … this takes seconds."));
    try {
      const learned = await post("learn");
      $("#learned").replaceChildren(...result(learned));
      button.hidden = true;
      if (learned.ranked) refreshSuggestions().catch(complain);
    } catch (error) {
      $("#learned").replaceChildren(el("p", {}, error.message));
    } finally {
      learning = false;
    }
  });
}

/** Say what came of learning: before and after, on the random slice. */
function result(learned) {
  const row = (name, before, after) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, before), el("td", {}, after));
  const number = (value) => value === null ? "–" : share(value);
  const bulk = learned.bulk ? `, ${count(learned.bulk)} of them decided in bulk` : "";
  const unread = learned.unread ? ` ${readmes(learned.unread)} keep theirs: the batch kept no readings of them.` : "";
  return [
    el("p", {}, `Learned from ${readmes(learned.readmes)}${bulk}.`),
    el(
      "table",
      { class: "figures" },
      el("caption", { class: "faint" }, "On the random slice; after: by heads that had not seen the README"),
      el("thead", {}, el("tr", {}, el("td"), el("th", { scope: "col" }, "before"), el("th", { scope: "col" }, "after"))),
      el(
        "tbody",
        {},
        row("First tag right", rate(learned.before), rate(learned.after)),
        row("F1", number(learned.f1_before), number(learned.f1_after)),
      ),
    ),
    el("p", {}, learned.head
      ? `${readmes(learned.ranked)} have new suggestions. The head is in ${learned.head}.${unread}`
      : `The head is not used, and nothing has changed: ${learned.why_not}. Review more READMEs, and learn again.`),
  ];
}
