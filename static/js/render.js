// Draws a Markdown tree with DOM nodes, and redraws only what changed.
// One tree node is one DOM node; the elements and attributes made here are the whole allow-list.

import { h, icon } from "./dom.js";
import { plain } from "./inline.js";
import { MarkdownStream } from "./markdown.js";

const BLOCKS = { p: "p", quote: "blockquote", ul: "ul", ol: "ol", li: "li", tr: "tr", th: "th", td: "td" };
// dir="auto" looks past descendants that have a dir of their own, so only the outermost block gets one;
// the style sheet lets the blocks inside turn by their own text.
const FIXED = { pre: true, hr: true };
const MARKS = { strong: "strong", em: "em", del: "del" };

/** A growing answer inside `root`. `cite(n)` makes the button of citation n, or null when there is none. */
export class MarkdownView {
  constructor(root, cite) {
    this.root = root;
    this.cite = cite;
    this.reset();
  }

  reset() {
    this.stream = new MarkdownStream();
    this.drawn = [];
    this.settled = 0;
    this.length = 0;
    this.root.replaceChildren();
  }

  /** Shows `text`, which begins with what was shown before. `open` while more is to come. */
  show(text, open) {
    this.stream.push(text.slice(this.length));
    this.length = text.length;
    const { blocks, settled } = this.stream.blocks(open);
    this.#sync(this.root, this.drawn, blocks, this.settled);
    this.drawn = blocks;
    this.settled = settled;
  }

  #sync(parent, before, after, from = 0) {
    for (let i = from; i < after.length; i += 1) {
      if (i < before.length && (before[i] === after[i] || this.#update(parent.childNodes[i], before[i], after[i]))) continue;
      const made = this.#create(after[i]);
      if (parent === this.root && !(after[i].t in FIXED)) made.setAttribute("dir", "auto");
      if (i < before.length) parent.childNodes[i].replaceWith(made);
      else parent.append(made);
    }
    while (parent.childNodes.length > after.length) parent.lastChild.remove();
  }

  /** Changes a node in place; false when it has to be made anew. */
  #update(node, before, after) {
    if (before.t !== after.t) return false;
    switch (after.t) {
      case "text": return setText(node, before.s, after.s);
      case "code": return setText(node.firstChild, before.s, after.s);
      case "pre": return before.lang === after.lang && setText(node.lastChild.firstChild.firstChild, before.s, after.s);
      case "br": case "hr": return true;
      case "link": case "cite": case "task": return JSON.stringify(before) === JSON.stringify(after);
      default:
        if (before.level !== after.level || before.start !== after.start || before.align !== after.align) return false;
        this.#sync(after.t === "table" ? node.firstChild : node, before.c, after.c);
        return true;
    }
  }

  #create(node) {
    switch (node.t) {
      case "text": return document.createTextNode(node.s);
      case "br": return h("br");
      case "hr": return h("hr");
      case "code": return h("code", { dir: "ltr" }, document.createTextNode(node.s));
      case "pre": return codeBlock(node);
      case "task": return h("span", { class: "task", role: "img", "aria-label": node.on ? "done" : "to do" }, node.on ? "☑ " : "☐ ");
      case "cite": return this.cite(node.n) ?? document.createTextNode(`[${node.n}]`);
      case "link": return this.#link(node);
      case "table": return h("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" }, this.#filled(h("table"), node));
      case "h": return this.#filled(h(`h${Math.min(node.level + 2, 6)}`, { class: `h${node.level}` }), node);
      default: return this.#filled(this.#box(node), node);
    }
  }

  #box(node) {
    if (MARKS[node.t]) return h(MARKS[node.t]);
    const tag = BLOCKS[node.t];
    const side = node.align && node.align !== "start" ? `align-${node.align}` : null;
    return h(tag, { class: side, scope: tag === "th" ? "col" : null, start: node.start > 1 || node.start === 0 ? node.start : null });
  }

  #filled(element, node) {
    this.#sync(element, [], node.c);
    return element;
  }

  /** The host is always visible, so that the text of a link cannot lie about where it leads. */
  #link(node) {
    const props = { href: node.href, target: "_blank", rel: "noopener noreferrer nofollow", referrerpolicy: "no-referrer" };
    const link = this.#filled(h("a", props), node);
    const text = plain(node.c);
    if (node.image) link.prepend("Image: ");
    if (!text.startsWith(`${new URL(node.href).protocol}//${node.host}`) && text !== node.host) {
      link.append(h("span", { class: "link-host", dir: "ltr" }, ` (${node.host})`));
    }
    return link;
  }
}

function setText(node, before, after) {
  if (before === after) return true;
  if (after.startsWith(before)) node.appendData(after.slice(before.length));
  else node.data = after;
  return true;
}

function codeBlock(node) {
  const text = document.createTextNode(node.s);
  const label = h("span", null, "Copy");
  const copy = h("button", { type: "button", class: "copy", onclick: () => copyText(text.data, label) }, icon("copy"), label);
  return h("div", { class: "code", dir: "ltr" },
    h("div", { class: "code-bar" }, h("span", null, node.lang || "text"), copy),
    h("pre", { tabindex: "0" }, h("code", null, text)));
}

/** Copies, and says so on the button's own label for a moment. */
export async function copyText(text, label) {
  const name = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Could not copy";
  }
  setTimeout(() => { label.textContent = name; }, 1600);
}
