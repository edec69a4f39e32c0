// A conversation is a tree: where a message stands among its siblings, and the control that turns to another.

import { h, iconButton } from "./dom.js";

/** `{ n, count, before, after }`: it is the n-th; the ids beside it, null at the ends. Null when it is not among them. */
export function standing(id, siblings) {
  const at = siblings.indexOf(id);
  if (at < 0) return null;
  return { n: at + 1, count: siblings.length, before: siblings[at - 1] ?? null, after: siblings[at + 1] ?? null };
}

/** The ids of GET …/messages in order, with the answer that is being written, if it is on this branch. */
export function idsOf({ data, running }) {
  const ids = data.map((message) => message.id);
  return running && onBranch({ data, running }) ? [...ids, running.message_id] : ids;
}

/** Whether the answer that is being written belongs to the end of the branch. */
export function onBranch({ data, running }) {
  return running !== null && data[data.length - 1]?.id === running.parent_id;
}

/** Where a turn's question and answer stand: `{ question, answer }` with `id` and `siblings`; null when it is elsewhere. */
export function placesOf({ data, running }, turnId) {
  const written = running?.turn_id === turnId ? { ...running, id: running.message_id } : null;
  const answer = written ?? data.find((one) => one.role === "assistant" && one.turn_id === turnId);
  const question = data.find((one) => one.id === answer?.parent_id);
  return question ? { question, answer } : null;
}

/** Whether two places are one: then there is nothing to draw anew, and no button moves under a finger. */
export function samePlace(one, other) {
  return one !== null && one.id === other.id && one.siblings.join() === other.siblings.join();
}

/** ‹ 2/3 ›, or null for an only child. `onTurn(id, step)` is called with the id to turn to and `before` or `after`. */
export function switcher({ id, siblings }, onTurn) {
  const place = standing(id, siblings);
  if (!place || place.count < 2) return null;
  const step = (name, icon, label) => iconButton(icon, label, {
    "data-testid": `sibling-${name}`, "data-step": name, disabled: place[name] === null, onclick: () => onTurn(place[name], name),
  });
  return h("span", { class: "switcher", role: "group", "aria-label": `Version ${place.n} of ${place.count}`, "data-testid": "switcher" },
    step("before", "left", "Previous version"),
    h("span", { "aria-hidden": "true" }, `${place.n}/${place.count}`),
    step("after", "right", "Next version"));
}

/** After a turn to another branch the pressed button is gone: the keyboard goes on with its successor. */
export function focusStep(root, step) {
  const button = root.querySelector(`[data-step="${step}"]:not(:disabled)`) ?? root.querySelector("[data-step]:not(:disabled)");
  button?.focus();
}
