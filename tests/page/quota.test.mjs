// Limits and usage in words, and days as bars.

import assert from "node:assert/strict";
import { test } from "node:test";
import { document, Element, shape, walk } from "./dom-stub.mjs";

globalThis.document = document;
const { calendar, dailyChart, sums } = await import("../../static/js/chart.js");
const { amount, costWords, day, shortDay } = await import("../../static/js/format.js");
const { anew, level, percent, refusalSentence, share, tightest, warning, warningKey } = await import("../../static/js/quota.js");
const { isForLater } = await import("../../static/js/refusal.js");

const END = "2026-12-01T00:00:00Z";
const meter = (more) => ({ scope: "user", period: "month", meter: "requests", limit: 10, hard: true, used: 0, reserved: 0, resets_at: END, ...more });

test("what is held counts as used, and per cent are not rounded up", () => {
  assert.deepEqual([meter({ used: 7, reserved: 1 }), meter({ limit: null, used: 9 }), meter({ limit: 0 })].map(share), [0.8, 0, 1]);
  assert.deepEqual([0, 0.799, 0.8, 0.999, 1, 1.2].map(level), ["fine", "fine", "high", "high", "full", "full"]);
  assert.equal(percent(0.999), "99 %");
});

test("the tightest limit is one that a question counts against", () => {
  const all = [meter({ used: 3 }), meter({ meter: "tokens", limit: 100, used: 40 }), meter({ scope: "tenant", meter: "pages", used: 10 }), meter({ meter: "cost_nano_usd", limit: null, used: 5 })];
  assert.equal(tightest(all).meter, "tokens");
  assert.equal(tightest([all[2], all[3]]), null);
});

test("a warning says which limit, how much of it, and when it starts anew", () => {
  assert.equal(warning(meter({ used: 7 })), null);
  assert.equal(warning(null), null);
  const far = `It starts anew on ${day(END)}.`;
  assert.equal(warning(meter({ used: 8 })), `80 % of your monthly limit of 10 questions is used (8 of 10). ${far}`);
  const cost = meter({ scope: "tenant", meter: "cost_nano_usd", limit: 25e9, used: 25e9, hard: false });
  assert.equal(warning(cost), `Your organisation’s monthly limit of $25.00 is used up ($25.00 of $25.00). Questions are still answered. ${far}`);
  assert.match(anew(meter(), Date.parse(END) - 3600_000), /, \d/, "soon: with the hour");
  assert.equal(anew(meter({ resets_at: null })), "");
  assert.equal(refusalSentence(meter({ period: "day", meter: "tokens", limit: 5000, used: 4000, reserved: 500 })), `This would exceed your daily limit of 5,000 tokens: 4,500 are used. ${far}`);
});

test("a warning that was put away is another one at the next level, or when the limit changes", () => {
  const keys = [meter({ used: 8 }), meter({ used: 9 }), meter({ used: 10 }), meter({ used: 9, limit: 11 }), meter({ used: 8, resets_at: "2027-01-01T00:00:00Z" })].map(warningKey);
  assert.equal(keys[0], keys[1]);
  assert.equal(new Set(keys).size, 4);
});

test("only a limit sends a question back to its box", () => {
  assert.deepEqual(["quota_exceeded", "model_unpriced", "rate_limited", "unavailable"].map((code) => isForLater({ code })), [true, true, false, false]);
});

test("no price is not nothing", () => {
  assert.equal(costWords({ tokens: 50, cost_nano_usd: 0, unpriced_tokens: 0 }), "$0");
  assert.equal(costWords({ tokens: 50, cost_nano_usd: 0, unpriced_tokens: 50 }), "no price");
  assert.equal(costWords({ tokens: 50, cost_nano_usd: 2e9, unpriced_tokens: 20 }), "$2.00 + 20 unpriced");
  assert.deepEqual([amount("cost_nano_usd", 5e9), amount("stored_bytes", 3 * 1024 ** 3), amount("tokens", 1234)], ["$5.00", "3 GB", "1,234"]);
});

const line = (day, key, totals, cost = 0) => ({ day, key, name: key && `${key}!`, totals, cost_nano_usd: cost, unpriced_tokens: 0 });
const LINES = [
  line("2026-03-28", "a", { requests: 1, input_tokens: 10, output_tokens: 5 }, 7),
  line("2026-03-28", "b", { requests: 2, cached_input_tokens: 20, reasoning_tokens: 1 }, 1),
  line("2026-03-30", null, { embedding_tokens: 99, pages: 1 }),
];

test("lines are added up; what is embedded is not read by the model", () => {
  const byDay = sums(LINES, (one) => one.day);
  assert.deepEqual(byDay.get("2026-03-28"), { requests: 3, tokens: 36, cost_nano_usd: 8, unpriced_tokens: 0, name: "a!" });
  assert.equal(byDay.get("2026-03-30").tokens, 0);
  assert.deepEqual([...sums(LINES, (one) => one.key).keys()], ["a", "b", null]);
});

test("days without usage are days, across the change of the clock", () => {
  assert.deepEqual(calendar("2026-03-28", "2026-03-30"), ["2026-03-28", "2026-03-29", "2026-03-30"]);
  assert.equal(calendar("2020-01-01", "2026-01-01").length, 400);
});

test("the chart is for eyes, the table for everybody", () => {
  const nodes = [...walk(dailyChart(LINES))].filter((node) => node instanceof Element);
  const of = (tag) => nodes.filter((node) => node.tag === tag);
  assert.equal(of("svg")[0].attributes["aria-hidden"], "true");
  assert.deepEqual(of("rect").map((bar) => bar.textContent), [`${shortDay("2026-03-28")}: 36 tokens`]);
  assert.equal(of("rect")[0].attributes.height, "90.0", "the tallest fills it");
  assert.deepEqual(of("tbody")[0].childNodes.map((row) => row.childNodes.map((cell) => cell.textContent)), [[shortDay("2026-03-30"), "0", "0", "$0"], [shortDay("2026-03-28"), "3", "36", "< $0.0001"]]);
  assert.deepEqual(of("th").slice(0, 4).map((head) => head.attributes.scope), Array(4).fill("col"));
  assert.deepEqual(shape(dailyChart([]))[0], "p");
});
