// Days as bars, drawn with SVG; and the same days as a table, for those who cannot see them.

import { h, svg } from "./dom.js";
import { costWords, number, shortDay } from "./format.js";

const WIDTH = 360;
const HEIGHT = 90;

const TOKENS = ["input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"];

/** What the model read and wrote. */
export const tokens = (totals) => TOKENS.reduce((sum, meter) => sum + (totals[meter] ?? 0), 0);

/** Adds lines up by `key(line)`: a map of `{requests, tokens, cost_nano_usd, unpriced_tokens, name}`. */
export function sums(lines, key) {
  const found = new Map();
  for (const line of lines) {
    const at = key(line);
    const sum = found.get(at) ?? { requests: 0, tokens: 0, cost_nano_usd: 0, unpriced_tokens: 0, name: line.name ?? line.key };
    sum.requests += line.totals.requests ?? 0;
    sum.tokens += tokens(line.totals);
    sum.cost_nano_usd += line.cost_nano_usd;
    sum.unpriced_tokens += line.unpriced_tokens;
    found.set(at, sum);
  }
  return found;
}

/** Every day from the first to the last, ISO dates, also those without usage. */
export function calendar(first, last) {
  const days = [];
  for (let at = new Date(`${first}T00:00:00Z`); days.length < 400; at.setUTCDate(at.getUTCDate() + 1)) {
    const day = at.toISOString().slice(0, 10);
    if (day > last) break;
    days.push(day);
  }
  return days;
}

/** Tokens by day. `lines` are those of /v1/usage, oldest first, told apart or not. */
export function dailyChart(lines) {
  if (!lines.length) return h("p", { class: "quiet" }, "Nothing was used in these days.");
  const byDay = sums(lines, (line) => line.day);
  const days = calendar(lines[0].day, lines[lines.length - 1].day);
  const most = Math.max(1, ...[...byDay.values()].map((sum) => sum.tokens));
  const step = WIDTH / Math.max(days.length, 7);
  const bars = days.flatMap((day, i) => {
    const n = byDay.get(day)?.tokens ?? 0;
    if (!n) return [];
    const height = Math.max(2, (n / most) * HEIGHT);
    const bar = { x: (i * step + 0.5).toFixed(1), y: (HEIGHT - height).toFixed(1), width: Math.max(1, Math.min(step - 1, 26)).toFixed(1), height: height.toFixed(1), rx: 1.5 };
    return [svg("rect", bar, Object.assign(svg("title", {}), { textContent: `${shortDay(day)}: ${number(n)} tokens` }))];
  });
  return h("figure", { class: "daily" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "bars", "aria-hidden": "true", "data-testid": "usage-chart" },
      ...bars, svg("path", { class: "axis", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` })),
    h("figcaption", { class: "quiet" }, h("span", null, shortDay(days[0])), h("span", null, `Tokens by day, at most ${number(most)}`), h("span", null, shortDay(days[days.length - 1]))),
    h("details", { class: "as-table" }, h("summary", null, "The days as a table"), sumTable("Usage by day", "Day", [...byDay].toReversed().map(([day, sum]) => [shortDay(day), sum]))));
}

/** `rows` are `[name, sum]`. */
export function sumTable(caption, first, rows) {
  const head = [first, "Questions", "Tokens", "Cost"].map((name, i) => h("th", { scope: "col", class: i ? "align-end" : null }, name));
  const body = rows.map(([name, sum]) => h("tr", null,
    h("th", { scope: "row" }, h("bdi", null, name)),
    [number(sum.requests), number(sum.tokens), costWords(sum)].map((text) => h("td", { class: "align-end" }, text))));
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "visually-hidden" }, caption), h("thead", null, h("tr", null, head)), h("tbody", null, body)));
}
