// Which addresses may become links, and where one ends in running text.

// Characters that hide or reorder what the reader sees; a URL with one of them is not a link.
const DECEPTIVE = /[\u0000-\u0020\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\\]/;

/** `{href, host}` of a link that may be shown as one, or null. */
export function safeLink(raw) {
  if (raw.length > 2000 || DECEPTIVE.test(raw) || !/^(?:https?:\/\/[^/]|mailto:[^/])/i.test(raw)) return null;
  let url;
  try {
    url = new URL(raw);
  } catch {
    return null;
  }
  if (url.protocol === "mailto:") {
    return /^[^\s@?&]+@[^\s@?&]+$/.test(url.pathname) ? { href: `mailto:${url.pathname}`, host: url.pathname } : null;
  }
  const web = url.protocol === "https:" || url.protocol === "http:";
  if (!web || !url.host || url.username || url.password) return null;
  return { href: url.href, host: url.host };
}

/** `(url "title")` after `](`; the title is read and dropped. */
export function destination(source, from) {
  let at = from, depth = 0;
  const limit = Math.min(source.length, from + 2200);
  while (source[at] === " ") at += 1;
  const angled = source[at] === "<";
  const start = angled ? (at += 1) : at;
  for (; at < limit; at += 1) {
    const ch = source[at];
    if (angled ? ch === ">" : ch === " " || ch === "\n") break;
    if (ch === "\n" || ch === "<") return null;
    if (!angled && ch === "(") depth += 1;
    if (!angled && ch === ")" && depth-- === 0) break;
  }
  const url = source.slice(start, at);
  if (angled && source[at] === ">") at += 1;
  const rest = /\s{0,3}(?:"[^"]{0,200}"|'[^']{0,200}')?\s{0,3}\)/y;
  rest.lastIndex = at;
  const end = rest.exec(source);
  return end && url ? { url, end: rest.lastIndex } : null;
}

/** Drops sentence punctuation and an unbalanced `)` from the end of a bare URL. */
export function trimUrl(url) {
  let end = url.length;
  let opens = 0, closes = 0;
  for (const ch of url) {
    if (ch === "(") opens += 1;
    if (ch === ")") closes += 1;
  }
  for (; end > 0; end -= 1) {
    const ch = url[end - 1];
    if (ch === ")") {
      if (closes <= opens) break;
      closes -= 1;
    } else if (!/[.,:;!?*_~'\]。，、！？）】」]/.test(ch)) break;
  }
  return url.slice(0, end);
}
