// The usage view: every limit, what was used by day, and who or what used it; and all of it as CSV.

import { dailyChart, sums, sumTable, tokens } from "./chart.js";
import { complain, fill, h, iconButton } from "./dom.js";
import { amount, costWords, day, meterName, METERS, number, upper } from "./format.js";
import { level, percent, share } from "./quota.js";

const GROUPS = { assistant: "assistant", model: "model", user: "person" };
const NOBODY = { assistant: "Documents and other", model: "Documents and other", user: "Nobody in particular" };
const DAYS = [7, 30, 90];

export class UsageView {
  /** `gauge` knows the limits. */
  constructor(api, gauge, role) {
    this.api = api;
    this.gauge = gauge;
    this.whole = role !== undefined && role !== "member";
    this.asked = 0;
    this.scope = choice("Whose", "usage-scope", this.whole ? { tenant: "Everybody", user: "Only you" } : { user: "Only you" }, () => this.#scoped());
    this.group = choice("By", "usage-group", {}, () => this.#load());
    this.days = choice("Days", "usage-days", Object.fromEntries(DAYS.map((n) => [n, `${n} days`])), () => this.#load());
    this.days.value = "30";
    this.limits = h("div", { "data-testid": "usage-limits" });
    this.used = h("div", { class: "used", "data-testid": "usage-used", "aria-live": "polite" });
    this.csv = iconButton("down", "Download CSV", { text: true, "data-testid": "usage-csv", onclick: () => this.#download() });
    this.el = h("div", { class: "panel-body usage", "data-testid": "usage-view" }, this.limits,
      h("div", { class: "usage-bar" }, this.whole ? this.scope : null, this.group, this.days), this.used, this.csv);
    this.#scoped(false);
  }

  async refresh() {
    const loaded = this.#load();
    this.#drawLimits(await this.gauge.refresh());
    await loaded;
  }

  /** People are told apart only where all of them are seen. */
  #scoped(load = true) {
    const whole = this.scope.value === "tenant";
    const shown = whole ? ["user", "model", "assistant"] : ["assistant", "model"];
    fill(this.group, shown.map((group) => h("option", { value: group }, `By ${GROUPS[group]}`)));
    if (load) this.#load();
  }

  get #query() {
    return `scope=${this.scope.value}&group=${this.group.value}&days=${this.days.value}`;
  }

  async #load() {
    const asked = (this.asked += 1);
    try {
      const usage = await this.api.get(`/v1/usage?${this.#query}`);
      if (asked === this.asked) this.#drawUsed(usage); // else something else was chosen meanwhile
    } catch (problem) {
      if (asked === this.asked) fill(this.used, h("p", { class: "quiet" }, problem.message));
    }
  }

  #drawLimits(quota) {
    if (!quota) return;
    fill(this.limits,
      h("p", { class: "quiet" }, `Plan “${quota.plan}”. The month ends on ${day(quota.period.end)} (${quota.time_zone}).`),
      meterGroup("You", quota.data.filter((meter) => meter.scope === "user")),
      meterGroup("Your organisation", quota.data.filter((meter) => meter.scope !== "user")));
  }

  #drawUsed(usage) {
    const group = this.group.value;
    const by = [...sums(usage.daily, (line) => line.key ?? "")].sort((a, b) => b[1].tokens - a[1].tokens);
    const rows = by.map(([, sum]) => [sum.name ?? NOBODY[group], sum]);
    fill(this.used,
      h("dl", { class: "totals" }, total("Today", usage.today), total("7 days", usage.last_7d), total("This month", usage.period)),
      dailyChart(usage.daily),
      rows.length ? [h("h3", null, `By ${GROUPS[group]}`), sumTable(`Usage by ${GROUPS[group]}`, upper(GROUPS[group]), rows)] : null);
  }

  async #download() {
    try {
      const response = await this.api.fetch(`/v1/usage.csv?${this.#query}`);
      const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "usage.csv";
      const address = URL.createObjectURL(await response.blob());
      h("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser may still be reading
    } catch (problem) {
      complain(problem);
    }
  }
}

function choice(name, testid, options, onchange) {
  return h("select", { class: "picker", "aria-label": name, "data-testid": testid, onchange },
    Object.entries(options).map(([value, text]) => h("option", { value }, text)));
}

function total(name, sum) {
  return h("div", null, h("dt", null, name), h("dd", null, h("strong", null, number(tokens(sum.totals))), " tokens"),
    h("dd", { class: "quiet" }, costWords({ ...sum, tokens: tokens(sum.totals) })));
}

function meterGroup(name, meters) {
  if (!meters.length) return null;
  const order = Object.keys(METERS);
  const sorted = meters.toSorted((a, b) => order.indexOf(a.meter) - order.indexOf(b.meter));
  return [h("h3", null, name), h("ul", { class: "meters" }, sorted.map(meterRow))];
}

function meterRow(meter) {
  const { limit, used } = meter;
  const name = `${meterName(meter.meter)}${meter.period === "day" ? ", today" : ""}`;
  if (limit === null || limit === undefined) {
    return h("li", null, h("span", null, name), h("span", { class: "meter-amount" }, `${amount(meter.meter, used)}, no limit`));
  }
  const part = share(meter);
  const held = meter.reserved ? ` + ${amount(meter.meter, meter.reserved)} held` : "";
  return h("li", { "data-level": level(part) },
    h("span", null, name), h("span", { class: "meter-amount" }, `${amount(meter.meter, used)}${held} of ${amount(meter.meter, limit)} (${percent(part)})`),
    h("progress", { max: "100", value: String(Math.min(100, Math.floor(part * 100))), "aria-label": name }));
}
