// Inline Markdown: emphasis, code, links, citations → a plain tree, no DOM.
// Every pass is linear in the text, so a hostile answer cannot freeze the page. Raw HTML, reference
// links and any URL that is not http(s) or mailto stay the text they were.

import { build } from "./emphasis.js";
import { destination, safeLink, trimUrl } from "./link.js";

const PUNCTUATION = /[!-/:-@[-`{-~]/;
const CITATION = /\[(\d{1,3}(?:\s?[,;]\s?\d{1,3}){0,15})\](?!\()/y;
const AUTOLINK = /<(https?:\/\/[^\s<>]{1,2000}|[^\s<>@:]{1,64}@[^\s<>@]{1,255})>/iy;
const BREAK_TAG = /<br ?\/?>/iy;
const BARE_URL = /https?:\/\/[^\s<>"`|\\^{}]{1,2000}/iy;
const ENTITY = /&(amp|lt|gt|quot|apos|nbsp|#39);/y;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", "#39": "'" };

/** The text a reader sees of a tree. */
export function plain(nodes) {
  let out = "";
  for (const node of nodes) {
    if (node.t === "br") out += "\n";
    else if (node.t === "cite") out += `[${node.n}]`;
    else out += node.s ?? plain(node.c ?? []);
  }
  return out;
}

/** Parses the text of one block. */
export function parseInline(source) {
  return new Inline(source).run();
}

class Inline {
  constructor(source) {
    this.source = source;
    this.at = 0;
    this.items = [];
    this.text = "";
    this.brackets = [];
    this.inactiveBelow = 0;
    this.ticks = null;
  }

  run() {
    const { source } = this;
    while (this.at < source.length) this.step(source[this.at]);
    this.flush();
    return build(this.items);
  }

  step(ch) {
    switch (ch) {
      case "\\": return this.escape();
      case "`": return this.code();
      case "*": case "_": case "~": return this.delimiter(ch);
      case "[": return this.openBracket();
      case "]": return this.closeBracket();
      case "!": return this.source[this.at + 1] === "[" ? this.pushBracket(true) : this.take(1);
      case "<": return this.angle();
      case "h": case "H": return this.bareUrl();
      case "&": return this.entity();
      case "\n": return this.newline();
      default: return this.take(1);
    }
  }

  take(count) {
    this.text += this.source.slice(this.at, this.at + count);
    this.at += count;
  }

  flush() {
    if (this.text) this.items.push({ node: { t: "text", s: this.text } });
    this.text = "";
  }

  emit(node, length) {
    this.flush();
    this.items.push({ node });
    this.at += length;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    return pattern.exec(this.source);
  }

  escape() {
    const next = this.source[this.at + 1];
    if (next === "\n") return this.emit({ t: "br" }, 2);
    if (next === undefined || !PUNCTUATION.test(next)) return this.take(1);
    this.text += next;
    this.at += 2;
  }

  code() {
    const start = this.at;
    const length = runLength(this.source, start, "`");
    const close = this.closingTicks(start + length, length);
    if (close < 0) return this.take(length);
    let s = this.source.slice(start + length, close).replaceAll("\n", " ");
    if (s.length > 2 && s.startsWith(" ") && s.endsWith(" ") && s.trim()) s = s.slice(1, -1);
    this.emit({ t: "code", s }, close + length - start);
  }

  /** Where a run of exactly `length` back-ticks begins at or after `from`; positions are indexed once. */
  closingTicks(from, length) {
    if (!this.ticks) {
      this.ticks = new Map();
      for (const run of this.source.matchAll(/`+/g)) {
        const key = run[0].length;
        if (!this.ticks.has(key)) this.ticks.set(key, { starts: [], next: 0 });
        this.ticks.get(key).starts.push(run.index);
      }
    }
    const runs = this.ticks.get(length);
    if (!runs) return -1;
    while (runs.next < runs.starts.length && runs.starts[runs.next] < from) runs.next += 1;
    return runs.starts[runs.next] ?? -1;
  }

  delimiter(ch) {
    const { source, at } = this;
    const count = runLength(source, at, ch);
    if (ch === "~" && count !== 2) return this.take(count);
    const before = at === 0 ? " " : source[at - 1];
    const after = source[at + count] ?? " ";
    const spaceBefore = /\s/.test(before), spaceAfter = /\s/.test(after);
    const markBefore = isPunctuation(before), markAfter = isPunctuation(after);
    const left = !spaceAfter && (!markAfter || spaceBefore || markBefore);
    const right = !spaceBefore && (!markBefore || spaceAfter || markAfter);
    const open = ch === "_" ? left && (!right || markBefore) : left;
    const close = ch === "_" ? right && (!left || markAfter) : right;
    this.flush();
    this.items.push({ ch, count, length: count, open, close, opens: [], closes: [] });
    this.at += count;
  }

  openBracket() {
    const cited = this.match(CITATION);
    if (!cited) return this.pushBracket(false);
    this.text = this.text.replace(/ $/, "\u202f"); // the number stays on the line of its word
    this.flush();
    for (const n of cited[1].split(/[,;]/)) this.items.push({ node: { t: "cite", n: Number(n) } });
    this.at += cited[0].length;
  }

  pushBracket(image) {
    this.flush();
    const s = image ? "![" : "[";
    this.brackets.push({ image, index: this.items.length, at: this.at });
    this.items.push({ node: { t: "text", s } });
    this.at += s.length;
  }

  closeBracket() {
    const bracket = this.brackets.pop();
    if (!bracket) return this.take(1);
    const active = this.brackets.length >= this.inactiveBelow;
    this.inactiveBelow = Math.min(this.inactiveBelow, this.brackets.length);
    const target = active && this.source[this.at + 1] === "(" ? destination(this.source, this.at + 2) : null;
    const link = target && safeLink(target.url);
    if (!link) return this.take(1);
    this.flush();
    const inner = unlinked(build(this.items.splice(bracket.index + 1)));
    this.items.length = bracket.index;
    if (bracket.image) {
      this.items.push({ node: { t: "link", image: true, ...link, c: [{ t: "text", s: plain(inner) || "image" }] } });
    } else {
      this.inactiveBelow = this.brackets.length;
      this.items.push({ node: { t: "link", ...link, c: inner.length ? inner : [{ t: "text", s: link.host }] } });
    }
    this.at = target.end;
  }

  angle() {
    const tag = this.match(BREAK_TAG);
    if (tag) return this.emit({ t: "br" }, tag[0].length);
    const found = this.match(AUTOLINK);
    const link = found && safeLink(/^https?:/i.test(found[1]) ? found[1] : `mailto:${found[1]}`);
    if (!link) return this.take(1);
    this.emit({ t: "link", ...link, c: [{ t: "text", s: found[1] }] }, found[0].length);
  }

  bareUrl() {
    const before = this.source[this.at - 1];
    const found = before && /[\p{L}\p{N}_]/u.test(before) ? null : this.match(BARE_URL);
    const shown = found && trimUrl(found[0]);
    const link = shown && safeLink(shown);
    if (!link) return this.take(1);
    this.emit({ t: "link", ...link, c: [{ t: "text", s: shown }] }, shown.length);
  }

  entity() {
    const found = this.match(ENTITY);
    if (!found) return this.take(1);
    this.text += ENTITIES[found[1]];
    this.at += found[0].length;
  }

  newline() {
    const hard = this.text.endsWith("  ");
    this.text = this.text.replace(/ {1,64}$/, "");
    if (hard) return this.emit({ t: "br" }, 1);
    this.take(1);
  }
}

function runLength(source, at, ch) {
  let end = at;
  while (source[end] === ch) end += 1;
  return end - at;
}

function isPunctuation(ch) {
  return /[\p{P}\p{S}]/u.test(ch);
}

/** No link inside a link: an inner one leaves its text. */
function unlinked(nodes) {
  return nodes.flatMap((node) => {
    if (node.t === "link") return node.c;
    if (node.t === "cite") return [{ t: "text", s: `[${node.n}]` }];
    return [node.c ? { ...node, c: unlinked(node.c) } : node];
  });
}
