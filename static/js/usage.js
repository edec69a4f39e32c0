// The gauge: how near the tightest limit is, and on a click all meters and the last days.

import { fill, h, svg } from "./dom.js";
import { day, METERS, meterName, money, number, short, shortDay } from "./format.js";

/** The limit with the smallest share left, as `{meter, share}`, or null when nothing is limited. */
export function tightest(meters) {
  let found = null;
  for (const meter of meters) {
    if (meter.limit === null || meter.limit === undefined) continue;
    const share = meter.limit > 0 ? (meter.used + (meter.reserved ?? 0)) / meter.limit : 1;
    if (!found || share > found.share) found = { meter, share };
  }
  return found;
}

export const level = (share) => (share >= 1 ? "full" : share >= 0.8 ? "high" : "fine");

/** Emits `level` (`detail`: `{level, sentence}`, sentence null while all is fine). */
export class Usage extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.quota = null;
    this.label = h("span", { class: "gauge-label" }, "Usage");
    this.bar = h("span", { class: "gauge-bar" }, h("i"));
    this.button = h("button", { type: "button", class: "gauge", "data-testid": "usage-gauge", "aria-expanded": "false", "aria-controls": "usage-popover", onclick: () => this.toggle() }, this.label, this.bar);
    this.popover = h("section", { class: "popover", id: "usage-popover", hidden: true, "aria-label": "Usage", tabindex: "-1", "data-testid": "usage-popover" });
    this.el = h("div", { class: "usage" }, this.popover, this.button);
    this.outside = (event) => { if (!this.el.contains(event.target)) this.toggle(false); };
  }

  async refresh() {
    try {
      this.quota = await this.api.get("/v1/quota");
      this.#draw();
    } catch {
      // The gauge is a comfort; it keeps its last state.
    }
  }

  get open() {
    return !this.popover.hidden;
  }

  async toggle(open = !this.open) {
    if (open === this.open) return;
    this.popover.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
    document[open ? "addEventListener" : "removeEventListener"]("pointerdown", this.outside);
    if (!open) {
      if (this.popover.contains(document.activeElement)) this.button.focus();
      return;
    }
    this.#fillPopover(null);
    this.popover.focus();
    await this.refresh();
    const usage = await this.api.get("/v1/usage").catch(() => null);
    this.#fillPopover(usage);
  }

  #draw() {
    const worst = tightest(this.quota.data);
    const share = worst?.share ?? 0;
    const state = level(share);
    this.button.dataset.level = state;
    this.bar.firstChild.style.inlineSize = `${Math.min(100, share * 100)}%`;
    const percent = `${Math.round(share * 100)} %`;
    this.label.textContent = !worst ? "No limits" : share < 0.01 ? "Usage under 1 %" : `${meterName(worst.meter.meter)} ${percent}`;
    this.button.title = worst ? `${number(worst.meter.used)} of ${number(worst.meter.limit)} used, renewed on ${day(worst.meter.resets_at)}` : "Usage";
    this.dispatchEvent(new CustomEvent("level", { detail: { level: state, sentence: worst ? warning(worst.meter, state, percent) : null } }));
  }

  #fillPopover(usage) {
    const { quota } = this;
    if (!quota) {
      fill(this.popover, h("p", { class: "quiet" }, "Loading…"));
      return;
    }
    fill(this.popover,
      h("h2", null, "Usage"),
      h("p", { class: "quiet" }, `Plan “${quota.plan}”, renewed on ${day(quota.period.end)}.`),
      meterGroup("You", quota.data.filter((meter) => meter.scope === "user")),
      meterGroup("Your organisation", quota.data.filter((meter) => meter.scope !== "user")),
      usage ? [dailyBars(usage.daily ?? []), usage.cost_nano_usd != null ? h("p", { class: "quiet" }, `Cost in this period: ${money(usage.cost_nano_usd)}`) : null] : null);
  }
}

function warning(meter, state, percent) {
  const whose = meter.scope === "user" ? "your" : "your organisation’s";
  const what = `${whose} limit for ${meterName(meter.meter).toLowerCase()}`;
  const until = meter.resets_at ? ` until ${day(meter.resets_at)}` : "";
  if (state === "full") return `${what[0].toUpperCase()}${what.slice(1)} is used up${until}.`;
  return state === "high" ? `${percent} of ${what} is used.` : null;
}

function meterGroup(name, meters) {
  if (!meters.length) return null;
  const order = Object.keys(METERS);
  const sorted = meters.toSorted((a, b) => order.indexOf(a.meter) - order.indexOf(b.meter));
  return [h("h3", null, name), h("ul", { class: "meters" }, sorted.map(meterRow))];
}

function meterRow(meter) {
  const { limit } = meter;
  const share = limit ? (meter.used + (meter.reserved ?? 0)) / limit : limit === 0 ? 1 : 0;
  const bar = limit == null ? null : h("span", { class: "gauge-bar", "data-level": level(share) }, h("i"));
  if (bar) bar.firstChild.style.inlineSize = `${Math.min(100, share * 100)}%`;
  const amount = limit == null ? number(meter.used) : `${number(meter.used)} of ${short(limit)}`;
  return h("li", { "data-level": level(share), title: limit == null ? "Counted, not limited" : null },
    h("span", null, meterName(meter.meter)), h("span", { class: "meter-amount" }, amount), bar);
}

/** Tokens per day as bars; the numbers are in the description for those who cannot see them. */
function dailyBars(daily) {
  const days = daily.slice(-30).map(({ day: date, totals }) => ({ date, n: (totals.input_tokens ?? 0) + (totals.output_tokens ?? 0) }));
  if (!days.length) return null;
  const most = Math.max(1, ...days.map((one) => one.n));
  const step = 240 / Math.max(days.length, 7);
  const bars = days.map(({ date, n }, i) => {
    const height = n ? Math.max(2, (n / most) * 48) : 1;
    return svg("rect", { x: (i * step + 1).toFixed(1), y: (50 - height).toFixed(1), width: Math.max(1, Math.min(step - 2, 18)).toFixed(1), height: height.toFixed(1), rx: 1.5 },
      Object.assign(svg("title", {}), { textContent: `${shortDay(date)}: ${number(n)} tokens` }));
  });
  const words = days.map(({ date, n }) => `${shortDay(date)} ${number(n)}`).join(", ");
  return h("figure", { class: "daily" },
    svg("svg", { viewBox: "0 0 240 50", class: "bars", role: "img", "aria-label": `Tokens per day: ${words}` }, ...bars),
    h("figcaption", { class: "quiet" }, `Tokens per day since ${shortDay(days[0].date)}, at most ${number(most)}`));
}
