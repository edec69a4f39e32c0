// The gauge at the top of the window: how near the tightest limit is, in words and as a bar.

import { h } from "./dom.js";
import { amount, meterName } from "./format.js";
import { anew, level, limitName, percent, share, tightest, warning, warningKey } from "./quota.js";
import { store } from "./session.js";

const PUT_AWAY = "docent.warnings";
const KEPT = 8; // as many warnings as may be put away at a time

/** Emits `open` (it was clicked) and `warning` (`detail`: `{sentence, level}`, sentence null while there is none). */
export class Gauge extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.quota = null;
    this.label = h("span", { class: "gauge-label" }, "Usage");
    this.bar = h("progress", { max: "100", value: "0", "aria-hidden": "true" });
    this.el = h("button", { type: "button", class: "gauge", "data-testid": "usage-gauge", "aria-expanded": "false", "aria-controls": "panel", onclick: () => this.dispatchEvent(new Event("open")) },
      this.label, this.bar);
  }

  async refresh() {
    try {
      this.quota = await this.api.get("/v1/quota");
      this.#draw();
    } catch {
      // The gauge is a comfort; it keeps its last state.
    }
    return this.quota;
  }

  get #tightest() {
    return tightest(this.quota?.data ?? []);
  }

  get #away() {
    return (store.get(PUT_AWAY) ?? "").split("\n").filter(Boolean);
  }

  /** The warning that is shown is not to be shown again. */
  putAway() {
    const meter = this.#tightest;
    if (!meter) return;
    store.set(PUT_AWAY, [...this.#away, warningKey(meter)].slice(-KEPT).join("\n"));
    this.#warn(meter);
  }

  #draw() {
    const meter = this.#tightest;
    const part = meter ? share(meter) : 0;
    const state = level(part);
    this.el.dataset.level = state;
    this.bar.hidden = !meter;
    this.bar.value = Math.min(100, Math.floor(part * 100));
    const said = { full: "Limit reached", high: `${percent(part)} used` }[state];
    this.label.textContent = !meter ? "Usage" : said ?? `${meterName(meter.meter)} ${percent(part)}`;
    const words = meter ? `${percent(part)} of ${limitName(meter)} is used, ${amount(meter.meter, meter.used)}. ${anew(meter)}` : "Nothing is limited.";
    this.el.title = words;
    this.el.setAttribute("aria-label", `${this.label.textContent}. ${words}`);
    this.#warn(meter);
  }

  #warn(meter) {
    const sentence = meter && this.#away.includes(warningKey(meter)) ? null : warning(meter);
    this.dispatchEvent(new CustomEvent("warning", { detail: { sentence, level: meter ? level(share(meter)) : "fine" } }));
  }
}
