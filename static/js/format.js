// Numbers, sizes, dates and sentences for people.

const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat();
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const longDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** What limits count, in the order in which they are shown. */
export const METERS = {
  requests: "Questions",
  tokens: "Tokens",
  cost_nano_usd: "Cost",
  pages: "Pages indexed",
  stored_bytes: "Storage",
};

const STAGES = {
  queued: "Waiting its turn",
  extracting: "Reading the pages",
  chunking: "Splitting into passages",
  embedding: "Computing embeddings",
  indexing: "Adding to the index",
  done: "Ready",
};

export const number = (n) => whole.format(n);
export const short = (n) => (n < 10000 ? whole.format(n) : compact.format(n));
export const upper = (text) => text[0].toUpperCase() + text.slice(1);
export const stageSentence = (stage) => STAGES[stage] ?? "Processing";
export const meterName = (meter) => METERS[meter] ?? meter.replaceAll("_", " ");
export const day = (value) => longDate.format(new Date(value));
/** A date without a time is a day of the calendar, wherever one is. */
export const shortDay = (value) => shortDate.format(new Date(/^\d{4}-\d\d-\d\d$/.test(value) ? `${value}T00:00` : value));
export const time = (value) => clock.format(new Date(value));

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const kib = bytes / 1024;
  const [n, unit] = kib < 1024 ? [kib, "KB"] : kib < 1024 ** 2 ? [kib / 1024, "MB"] : [kib / 1024 ** 2, "GB"];
  return `${n < 10 ? Number(n.toFixed(1)) : Math.round(n)} ${unit}`;
}

const KINDS = { ".pdf": "PDF", ".md": "Markdown", ".markdown": "Markdown", ".txt": "plain text", ".html": "HTML", ".htm": "HTML" };

/** What may be uploaded, as a sentence. */
export function uploadHint(limits) {
  const kinds = [...new Set((limits?.accept ?? [".pdf", ".md", ".txt"]).map((ending) => KINDS[ending] ?? ending))];
  const listed = kinds.length > 1 ? `${kinds.slice(0, -1).join(", ")} or ${kinds[kinds.length - 1]}` : kinds[0];
  return `${listed}${limits?.max_bytes ? `, up to ${size(limits.max_bytes)} each` : ""}.`;
}

/** Today as a time, otherwise as a date. */
export function when(value) {
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) return "";
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : shortDate.format(date);
}

export function money(nanoUsd) {
  const usd = nanoUsd / 1e9;
  if (usd === 0) return "$0";
  return usd < 0.0001 ? "< $0.0001" : `$${usd.toFixed(usd < 0.01 ? 4 : usd < 1 ? 3 : 2)}`;
}

/** What tokens cost; said, and not taken for nothing, where they have no price. */
export function costWords({ tokens, cost_nano_usd: cost, unpriced_tokens: unpriced }) {
  if (!unpriced) return money(cost);
  return unpriced >= tokens && !cost ? "no price" : `${money(cost)} + ${short(unpriced)} unpriced`;
}

/** A quantity as its meter is read. */
export function amount(meter, n) {
  if (meter === "cost_nano_usd") return money(n);
  return meter === "stored_bytes" ? size(n) : number(n);
}

export function pageLabel(citation) {
  const { page, page_end: end } = citation;
  return end && end > page ? `pp. ${page}–${end}` : `p. ${page}`;
}

export function seconds(ms) {
  const total = Math.max(1, Math.ceil(ms / 1000));
  if (total < 90) return `${total} s`;
  return total < 5400 ? `${Math.round(total / 60)} min` : `${Math.round(total / 3600)} h`;
}
