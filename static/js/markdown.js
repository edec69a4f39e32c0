// Block Markdown → a plain tree, whole or as it streams in. No DOM here; render.js draws the tree.
// Deliberately absent: raw HTML, reference links, indented code, setext headings.
// A top-level block is settled once the block after it began on a complete line: it can never change
// again, so a stream parses and draws only what follows.

import { parseInline } from "./inline.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:( +)(.*))?$/;
const DELIMITER_ROW = /^ {0,3}\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$/;
const MAX_DEPTH = 8;

/** The tree of a whole text. */
export function parse(text) {
  return parseBlocks(toLines(text), 0);
}

/** A text that grows. `blocks()` returns every block so far; the first `settled` of them are final. */
export class MarkdownStream {
  constructor() {
    this.tail = "";
    this.done = [];
  }

  push(chunk) {
    this.tail += chunk;
  }

  /** With `open`, the unfinished end is shown as it will most likely become; without, exactly as it is. */
  blocks(open) {
    this.#settle();
    let tail = this.tail;
    if (open) tail = heal(tail);
    const rest = parseBlocks(toLines(tail), 0);
    return { blocks: rest.length ? [...this.done, ...rest] : this.done, settled: this.done.length };
  }

  #settle() {
    const complete = this.tail.lastIndexOf("\n") + 1;
    if (complete === 0) return;
    const lines = toLines(this.tail.slice(0, complete));
    const found = cut(lines, 0);
    let keep = found.length - 1;
    while (keep > 0 && found[keep].proof >= lines.length - 1) keep -= 1;
    if (keep <= 0) return;
    let offset = 0;
    for (let line = 0; line < found[keep].start; line += 1) offset = this.tail.indexOf("\n", offset) + 1;
    this.done = this.done.concat(found.slice(0, keep).map((block) => block.make()));
    this.tail = this.tail.slice(offset);
  }
}

/** Closes what a half-arrived last paragraph left open, so that markers do not flicker. */
export function heal(text) {
  const start = Math.max(text.lastIndexOf("\n\n"), 0);
  let end = text.slice(start);
  if (/(?:^|\n) {0,3}(?:```|~~~)/.test(text)) return text;
  end = end.replace(/(^|\n)[ \t>]*(?:[-*+#|]{1,6}|\d{1,9}[.)]?)$/, "$1");
  end = end.replace(/!?\[([^[\]\n]{0,200})(?:\]\([^()\s]{0,500})?$/, (_, text) => (/^[\d,; ]*$/.test(text) ? "" : text));
  if ((end.match(/`/g)?.length ?? 0) % 2) return text.slice(0, start) + (end.endsWith("`") ? end.slice(0, -1) : `${end}\``);
  if ((end.match(/\*\*/g)?.length ?? 0) % 2) end = /\*\*\s*$/.test(end) ? end.replace(/\*\*\s*$/, "") : `${end.trimEnd().replace(/\*$/, "")}**`;
  return text.slice(0, start) + end;
}

function toLines(text) {
  return text.replaceAll("\0", "\ufffd").split("\n").map((line) => expand(line.endsWith("\r") ? line.slice(0, -1) : line));
}

function expand(line) {
  return line.replace(/^[ ]*\t[ \t]*/, (space) => space.replaceAll("\t", "    "));
}

const isBlank = (line) => line.trim() === "";
const indentOf = (line) => line.length - line.trimStart().length;

function parseBlocks(lines, depth) {
  return cut(lines, depth).map((block) => block.make());
}

/**
 * Where blocks begin and end; what is in them is parsed by `make()`.
 * `proof` is the last line that was needed to know that a block begins at `start`.
 */
function cut(lines, depth) {
  const out = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const found = fence(lines, at) ?? heading(lines, at) ?? rule(lines, at)
      ?? (depth < MAX_DEPTH ? quote(lines, at, depth) ?? list(lines, at, depth) : null)
      ?? table(lines, at) ?? paragraph(lines, at);
    out.push({ start: at, proof: found.proof ?? at, make: found.make });
    at = found.end;
  }
  return out;
}

/** Whether line `at` ends a paragraph by beginning something else. */
function interrupts(lines, at) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  const item = ITEM.exec(line);
  if (item?.[4] && (item[2].length === 1 || /^1[.)]$/.test(item[2]))) return true;
  return isTable(lines, at);
}

function fence(lines, at) {
  const open = FENCE.exec(lines[at]);
  if (!open) return null;
  const indent = indentOf(lines[at]);
  const close = new RegExp(`^ {0,3}${open[1][0]}{${open[1].length},}[ \\t]*$`);
  const body = [];
  let end = at + 1;
  while (end < lines.length && !close.test(lines[end])) {
    body.push(dedent(lines[end], indent));
    end += 1;
  }
  const lang = open[2].trim().split(/\s+/)[0].slice(0, 40);
  return { make: () => ({ t: "pre", lang, s: body.join("\n") }), end: end + 1 };
}

function heading(lines, at) {
  const found = HEADING.exec(lines[at]);
  if (!found) return null;
  const text = (found[2] ?? "").trim().replace(/(?:^|\s)#{1,64}$/, "").trim();
  return { make: () => ({ t: "h", level: found[1].length, c: parseInline(text) }), end: at + 1 };
}

function rule(lines, at) {
  return RULE.test(lines[at]) ? { make: () => ({ t: "hr" }), end: at + 1 } : null;
}

function quote(lines, at, depth) {
  if (!QUOTE.test(lines[at])) return null;
  const body = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    if (QUOTE.test(lines[end])) body.push(lines[end].replace(QUOTE, ""));
    else if (isBlank(lines[end]) || interrupts(lines, end) || isBlank(body[body.length - 1])) break;
    else body.push(lines[end]);
  }
  return { make: () => ({ t: "quote", c: parseBlocks(body, depth + 1) }), end };
}

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  if (!first || RULE.test(lines[at])) return null;
  const kind = first[2].slice(-1);
  const ordered = /[.)]/.test(kind);
  const head = ordered ? { t: "ol", start: Number(first[2].slice(0, -1)) } : { t: "ul" };
  const bodies = [];
  let end = at;
  while (end < lines.length) {
    const marker = ITEM.exec(lines[end]);
    if (!marker || marker[2].slice(-1) !== kind || RULE.test(lines[end])) break;
    const item = listItem(lines, end, marker);
    bodies.push(item.body);
    end = item.end;
    let next = end;
    while (next < lines.length && isBlank(lines[next])) next += 1;
    if (next < lines.length && ITEM.test(lines[next])) end = next;
  }
  return { make: () => ({ ...head, c: bodies.map((body) => ({ t: "li", c: itemBlocks(body, depth) })) }), end };
}

/** The lines of one item, without its indent. Two columns are enough, whatever the marker's width. */
function listItem(lines, at, marker) {
  const base = marker[1].length;
  const space = marker[3]?.length ?? 1;
  const width = base + marker[2].length + (space > 4 ? 1 : space);
  const enough = Math.min(width, base + 2);
  const body = [dedent(lines[at].slice(base + marker[2].length), space > 4 ? 1 : space)];
  let end = at + 1;
  while (end < lines.length) {
    if (isBlank(lines[end])) {
      let next = end;
      while (next < lines.length && isBlank(lines[next])) next += 1;
      if (next === lines.length || indentOf(lines[next]) < enough) break;
      for (; end < next; end += 1) body.push("");
    } else if (indentOf(lines[end]) >= enough) {
      body.push(dedent(lines[end], width));
      end += 1;
    } else if (!ITEM.test(lines[end]) && !interrupts(lines, end) && !isBlank(body[body.length - 1])) {
      body.push(lines[end].trimStart());
      end += 1;
    } else break;
  }
  return { body, end };
}

function itemBlocks(body, depth) {
  const task = /^\[([ xX])\] +(?=\S)/.exec(body[0]);
  if (!task) return parseBlocks(body, depth + 1);
  const rest = [body[0].slice(task[0].length), ...body.slice(1)];
  return [{ t: "task", on: task[1] !== " " }, ...parseBlocks(rest, depth + 1)];
}

function dedent(line, width) {
  return line.slice(Math.min(indentOf(line), width));
}

function isTable(lines, at) {
  const next = lines[at + 1];
  if (next === undefined || !lines[at].includes("|") || !next.includes("|") || !DELIMITER_ROW.test(next)) return false;
  return cells(lines[at]).length === cells(next).length;
}

function table(lines, at) {
  if (!isTable(lines, at)) return null;
  const align = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "end") : "start"));
  const row = (line, t) => {
    const found = cells(line);
    return { t: "tr", c: align.map((side, i) => ({ t, align: side, c: parseInline(found[i] ?? "") })) };
  };
  let end = at + 2;
  while (end < lines.length && !isBlank(lines[end]) && !interrupts(lines, end)) end += 1;
  const make = () => ({ t: "table", c: [row(lines[at], "th"), ...lines.slice(at + 2, end).map((line) => row(line, "td"))] });
  return { make, end, proof: at + 1 };
}

/** Splits a row at its unescaped pipes. */
function cells(line) {
  const out = [""];
  const text = line.trim();
  for (let i = 0; i < text.length; i += 1) {
    if (text[i] === "\\" && text[i + 1] === "|") {
      out[out.length - 1] += "|";
      i += 1;
    } else if (text[i] === "|") out.push("");
    else out[out.length - 1] += text[i];
  }
  if (out[0].trim() === "" && out.length > 1) out.shift();
  if (out.length > 1 && out[out.length - 1].trim() === "") out.pop();
  return out.map((cell) => cell.trim());
}

function paragraph(lines, at) {
  const body = [lines[at].trimStart()];
  let end = at + 1;
  for (; end < lines.length && !isBlank(lines[end]) && !interrupts(lines, end); end += 1) body.push(lines[end].trimStart());
  return { make: () => ({ t: "p", c: parseInline(body.join("\n").trimEnd()) }), end };
}
