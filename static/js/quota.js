// Limits in words: which is the tightest, how near it is, what of it is worth a warning.

import { amount, day, meterName, time, upper } from "./format.js";

/** Only what a question counts against; pages and stored bytes stop no question. */
const ASKING = new Set(["requests", "tokens", "cost_nano_usd"]);

/** The part that is used or held, from 0; 1 is all of it. */
export function share(meter) {
  const taken = meter.used + (meter.reserved ?? 0);
  if (meter.limit > 0) return taken / meter.limit;
  return meter.limit === 0 ? 1 : 0;
}

export const level = (part) => (part >= 1 ? "full" : part >= 0.8 ? "high" : "fine");

/** In whole per cent, rounded down: 100 is said when nothing is left. */
export const percent = (part) => `${Math.floor(part * 100)} %`;

/** The limit of questions with the smallest share left, or null when nothing is limited. */
export function tightest(meters) {
  const limited = meters.filter((meter) => ASKING.has(meter.meter) && meter.limit !== null && meter.limit !== undefined);
  return limited.reduce((found, meter) => (!found || share(meter) > share(found) ? meter : found), null);
}

/** "your daily limit of 1,000 tokens" */
export function limitName(meter) {
  const whose = meter.scope === "user" ? "your" : "your organisation’s";
  const which = { day: "daily ", month: "monthly " }[meter.period] ?? "";
  return `${whose} ${which}limit of ${amount(meter.meter, meter.limit)}${unit(meter.meter)}`;
}

const unit = (name) => (name === "cost_nano_usd" || name === "stored_bytes" ? "" : ` ${meterName(name).toLowerCase()}`);

/** When it starts anew, with the hour where that is soon; empty for a level. */
export function anew(meter, now = Date.now()) {
  if (!meter.resets_at) return "";
  const soon = new Date(meter.resets_at) - now < 36 * 3600 * 1000;
  return `It starts anew on ${day(meter.resets_at)}${soon ? `, ${time(meter.resets_at)}` : ""}.`;
}

/** What is said above the composer, or null while all is fine. */
export function warning(meter) {
  const state = meter ? level(share(meter)) : "fine";
  if (state === "fine") return null;
  const name = limitName(meter);
  const taken = `${amount(meter.meter, meter.used + (meter.reserved ?? 0))} of ${amount(meter.meter, meter.limit)}`;
  const said = state === "high" ? `${percent(share(meter))} of ${name} is used (${taken}).` : `${upper(name)} is used up (${taken}).`;
  return [said, meter.hard === false && state === "full" ? "Questions are still answered." : "", anew(meter)].filter(Boolean).join(" ");
}

/** The same warning has the same key: one that was put away stays away until it is another. */
export const warningKey = (meter) => [meter.scope, meter.period, meter.meter, meter.limit, meter.resets_at, level(share(meter))].join(" ");

/** A refusal: whom the limit belongs to, what it counts, when it is free again. */
export function refusalSentence(quota) {
  const taken = amount(quota.meter, quota.used + (quota.reserved ?? 0));
  return `This would exceed ${limitName(quota)}: ${taken} are used. ${anew(quota)}`.trim();
}
