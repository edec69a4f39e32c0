// Which version of a message is shown, and where a turn stands in the tree.

import assert from "node:assert/strict";
import { test } from "node:test";
import { document, walk } from "./dom-stub.mjs";

globalThis.document = document;
const { idsOf, onBranch, placesOf, samePlace, standing, switcher } = await import("../../static/js/branch.js");

const QUESTION = { id: "q", parent_id: null, siblings: ["p", "q"], role: "user", turn_id: "t1" };
const ANSWER = { id: "a", parent_id: "q", siblings: ["a", "b"], role: "assistant", turn_id: "t1" };
const RUNNING = { turn_id: "t2", message_id: "b", parent_id: "q", siblings: ["a", "b"] };

test("a message knows its neighbours", () => {
  const family = ["a", "b", "c"];
  assert.deepEqual(standing("a", family), { n: 1, count: 3, before: null, after: "b" });
  assert.deepEqual(standing("b", family), { n: 2, count: 3, before: "a", after: "c" });
  assert.deepEqual(standing("c", family), { n: 3, count: 3, before: "b", after: null });
  assert.equal(standing("d", family), null);
});

test("an answer that is being written is on the branch that ends with its question", () => {
  const here = { data: [QUESTION], running: RUNNING };
  const elsewhere = { data: [QUESTION, ANSWER], running: RUNNING };
  assert.deepEqual([onBranch(here), onBranch(elsewhere)], [true, false]);
  assert.deepEqual([idsOf(here), idsOf(elsewhere)], [["q", "b"], ["q", "a"]]);
  assert.deepEqual(idsOf({ data: [QUESTION, ANSWER], running: null }), ["q", "a"]);
  assert.deepEqual(idsOf({ data: [], running: null }), []);
});

test("a turn is found while it is written, when it is stored, and not on another branch", () => {
  const written = placesOf({ data: [QUESTION], running: RUNNING }, "t2");
  assert.deepEqual([written.question.id, written.answer.id, written.answer.siblings], ["q", "b", ["a", "b"]]);
  const stored = placesOf({ data: [QUESTION, ANSWER], running: null }, "t1");
  assert.deepEqual([stored.question.id, stored.answer.id], ["q", "a"]);
  assert.equal(placesOf({ data: [QUESTION, ANSWER], running: null }, "t2"), null);
});

test("a place is the same until a sibling is born", () => {
  const place = { id: "a", siblings: ["a"] };
  assert.deepEqual([samePlace(null, place), samePlace(place, { id: "a", siblings: ["a"] }), samePlace(place, { id: "a", siblings: ["a", "b"] })], [false, true, false]);
});

test("the switcher is there when there is something to turn to, and ends at the ends", () => {
  assert.equal(switcher({ id: "a", siblings: ["a"] }, () => {}), null);
  assert.equal(switcher({ id: "new", siblings: [] }, () => {}), null);
  const control = switcher({ id: "b", siblings: ["a", "b"] }, () => {});
  assert.equal(control.attributes["aria-label"], "Version 2 of 2");
  const [before, after] = [...walk(control)].filter((node) => node.tag === "button");
  assert.deepEqual([before.attributes["aria-label"], "disabled" in before.attributes], ["Previous version", false]);
  assert.deepEqual([after.attributes["aria-label"], "disabled" in after.attributes], ["Next version", true]);
});
