// Applying parts: in order, once each, whatever the network repeats or loses.

import assert from "node:assert/strict";
import { test } from "node:test";
import { locate, unwrap } from "../../static/js/highlight.js";
import { SseDecoder } from "../../static/js/sse.js";
import { Applied, applyPart, newTurn, splitCitations, turnOfMessage } from "../../static/js/turn.js";

const PARTS = [
  { type: "start", messageId: "m1" },
  { type: "source-document", sourceId: "d1", mediaType: "application/pdf", title: "a.pdf", filename: "a.pdf" },
  { type: "data-citation", id: "cite-2", data: { index: 2, document_id: "d1", file_name: "a.pdf", page: 4, page_end: 4, snippet: "x", score: 1 } },
  { type: "data-citation", id: "cite-1", data: { index: 1, document_id: "d1", file_name: "a.pdf", page: 3, page_end: 3, snippet: "y", score: 1 } },
  { type: "text-start", id: "t1" },
  { type: "text-delta", id: "t1", delta: "Hello " },
  { type: "text-delta", id: "t1", delta: "world [1]." },
  { type: "text-end", id: "t1" },
  { type: "data-usage", data: { input_tokens: 3, output_tokens: 4, provenance: "exact", cost_nano_usd: null } },
  { type: "finish" },
];

function apply(turn, offsets) {
  return offsets.map((offset) => applyPart(turn, offset, PARTS[offset]));
}

const all = PARTS.map((_, offset) => offset);

test("a whole answer", () => {
  const turn = newTurn("t");
  const results = apply(turn, all);
  assert.equal(results.pop(), Applied.Ended);
  assert.ok(results.every((one) => one === Applied.Changed));
  assert.equal(turn.text, "Hello world [1].");
  assert.deepEqual([turn.status, turn.messageId, turn.usage.output_tokens], ["complete", "m1", 4]);
  assert.deepEqual(turn.citations.map((one) => one.index), [1, 2]);
  assert.deepEqual(splitCitations(turn).cited.map((one) => one.index), [1]);
});

test("what the server has to say of an answer is kept, once", () => {
  const turn = newTurn("t");
  const notice = { type: "data-notice", data: { code: "output_blocked", text: "Not here." } };
  const parts = [PARTS[0], notice, { type: "data-notice", data: { code: "later" } }, { type: "finish" }];
  parts.forEach((part, offset) => applyPart(turn, offset, part));
  parts.forEach((part, offset) => applyPart(turn, offset, part));
  assert.deepEqual([turn.notices, turn.status], [["Not here."], "complete"]);
  assert.deepEqual(turnOfMessage({ id: "m", turn_id: "t" }).notices, []);
});

test("a replay from any point changes nothing twice", () => {
  const whole = newTurn("t");
  apply(whole, all);
  for (let dropped = 0; dropped < PARTS.length; dropped += 1) {
    for (let from = 0; from <= dropped; from += 1) {
      const turn = newTurn("t");
      apply(turn, all.slice(0, dropped));
      apply(turn, all.slice(from));
      assert.deepEqual(turn, whole, `dropped at ${dropped}, replayed from ${from}`);
    }
  }
});

test("a gap asks for the missing parts once, then takes what there is", () => {
  const turn = newTurn("t");
  apply(turn, [0, 1, 2, 3, 4]);
  assert.equal(applyPart(turn, 6, PARTS[6]), Applied.Gap);
  assert.equal(turn.last, 4);
  assert.deepEqual(apply(turn, [5, 6]), [Applied.Changed, Applied.Changed]);
  assert.equal(turn.text, "Hello world [1].");
  assert.equal(applyPart(turn, 8, PARTS[8]), Applied.Gap);
  assert.equal(applyPart(turn, 8, PARTS[8]), Applied.Changed);
});

test("merged text stands for many parts", () => {
  const turn = newTurn("t");
  apply(turn, [0, 1, 2, 3, 4]);
  const merged = { type: "text-delta", id: "t1", delta: "Hello world [1]." };
  assert.equal(applyPart(turn, 6, merged, 5), Applied.Changed);
  assert.deepEqual(apply(turn, [5, 6, 7]), [Applied.Seen, Applied.Seen, Applied.Changed]);
  assert.deepEqual([turn.text, turn.last], ["Hello world [1].", 7]);
  const twice = newTurn("u");
  apply(twice, [0, 1, 2, 3, 4, 5]);
  assert.equal(applyPart(twice, 6, merged, 5), Applied.Gap, "half of it was seen");
  assert.deepEqual([twice.text, twice.last], ["Hello ", 5]);
  assert.deepEqual(apply(twice, [6, 7]), [Applied.Changed, Applied.Changed]);
  assert.equal(twice.text, "Hello world [1].");
  const late = newTurn("v");
  apply(late, [0, 1, 2]);
  assert.equal(applyPart(late, 6, merged, 5), Applied.Gap);
});

test("a log that lost its last parts ends the turn at an offset that was seen", () => {
  for (const [part, status] of [[{ type: "error", errorText: "Interrupted." }, "failed"], [{ type: "finish" }, "complete"], [{ type: "abort" }, "stopped"]]) {
    const turn = newTurn("t");
    apply(turn, [0, 1, 2, 3, 4, 5, 6]);
    assert.equal(applyPart(turn, 6, part), Applied.Rewound);
    assert.deepEqual([turn.status, turn.last, turn.text], [status, 6, "Hello world [1]."]);
    assert.equal(turn.errorText, part.errorText ?? null);
    assert.equal(applyPart(turn, 6, part), Applied.Seen, "once");
  }
});

test("nothing is applied after the end, and nonsense is ignored", () => {
  const turn = newTurn("t");
  assert.equal(applyPart(turn, 0, { type: "abort" }), Applied.Ended);
  assert.equal(turn.status, "stopped");
  assert.equal(applyPart(turn, 1, { type: "text-delta", delta: "late" }), Applied.Seen);
  const other = newTurn("u");
  assert.equal(applyPart(other, "0", PARTS[0]), Applied.Seen);
  assert.equal(applyPart(other, 0, { type: "data-of-the-future" }), Applied.Changed);
  assert.equal(applyPart(other, 1, null), Applied.Changed);
  assert.equal(applyPart(other, 2, { type: "text-delta", delta: { evil: true } }), Applied.Changed);
  assert.equal(applyPart(other, 3, { type: "data-citation", data: { index: "1" } }), Applied.Changed);
  assert.equal(applyPart(other, 4, { type: "error" }), Applied.Ended);
  assert.deepEqual([other.text, other.citations.length, other.status], ["", 0, "failed"]);
  assert.ok(other.errorText.length > 0);
});

test("a stored message is drawn like a turn", () => {
  const turn = turnOfMessage({ id: "m", turn_id: "t", text: "a [2, 1]", status: "stopped", citations: [{ index: 1 }, { index: 2 }, { index: 3 }], usage: null });
  assert.equal(turn.status, "stopped");
  assert.deepEqual(splitCitations(turn).read.map((one) => one.index), [3]);
});

test("events arrive alike in any pieces", () => {
  const text = "\ufeff: hb\r\n\r\nevent: progress\r\ndata: {\"a\":1}\r\n\r\nid: t.4\ndata: one\ndata:two\n\nevent: done\rdata: x\r\rdata: unfinished";
  const expected = [{ event: "progress", data: "{\"a\":1}", id: null }, { event: "message", data: "one\ntwo", id: "t.4" }, { event: "done", data: "x", id: "t.4" }];
  for (let cut = 0; cut <= text.length; cut += 1) {
    const decoder = new SseDecoder();
    assert.deepEqual([...decoder.push(text.slice(0, cut)), ...decoder.push(text.slice(cut))], expected, `cut at ${cut}`);
  }
});

test("an answer of several steps is one text, as it is stored", () => {
  const turn = newTurn("t");
  const parts = [
    { type: "start", messageId: "m" },
    { type: "text-start", id: "t1" },
    { type: "text-delta", id: "t1", delta: "It begins " },
    { type: "text-end", id: "t1" },
    { type: "finish-step" },
    { type: "start-step" },
    { type: "data-notice", data: { code: "model_changed", text: "Another one goes on." } },
    { type: "text-start", id: "t2" },
    { type: "text-delta", id: "t2", delta: "and goes on." },
  ];
  parts.forEach((part, offset) => applyPart(turn, offset, part));
  assert.equal(turn.text, "It begins and goes on.");
});

test("a quote is found whatever the white space", () => {
  const page = "Intro.\n\nEveryone has 28 days\n of  leave per year. Other text.";
  const cut = (snippet) => {
    const found = locate(page, snippet);
    return found && page.slice(...found);
  };
  assert.equal(cut("everyone has 28 days of leave per year."), "Everyone has 28 days\n of  leave per year");
  assert.equal(cut("…28 days of leave…"), "28 days\n of  leave");
  const long = "28 days of leave per year. Other text. Then comes a sentence which is not on this page at all";
  assert.equal(cut(long), null, "the first 80 letters differ");
  assert.equal(cut(`Intro. ${"Everyone has 28 days of leave per year. Other"} but this differs`), "Intro.\n\nEveryone has 28 days\n of  leave per year. Ot");
  assert.equal(cut("not there"), null);
  assert.equal(cut(" … "), null);
});

test("lines broken at the edge of the paper are joined, lists and tables are not", () => {
  const wrapped = "A day ticket costs 14 euros, a reduced one 8 euros. Children\nunder twelve do not pay.";
  assert.equal(unwrap(wrapped), wrapped.replace("\n", " "));
  for (const kept of ["short\nline", "a long line that is the heading of what follows\nNext", "a long line that is followed by a list of things:\n- one", "a long line that is the end of its paragraph.\n\nnext"]) assert.equal(unwrap(kept), kept);
});
