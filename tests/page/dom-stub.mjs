// Just enough of a DOM for render.js: elements, text nodes and the calls it makes, recorded as a plain tree.

class Node {
  constructor() {
    this.childNodes = [];
    this.parent = null;
  }

  get firstChild() {
    return this.childNodes[0] ?? null;
  }

  get lastChild() {
    return this.childNodes[this.childNodes.length - 1] ?? null;
  }

  append(...nodes) {
    for (const node of nodes) this.#adopt(node, this.childNodes.length);
  }

  prepend(...nodes) {
    nodes.forEach((node, i) => this.#adopt(node, i));
  }

  #adopt(node, at) {
    const child = typeof node === "string" ? new Text(node) : node;
    child.parent = this;
    this.childNodes.splice(at, 0, child);
  }

  remove() {
    this.parent.childNodes.splice(this.parent.childNodes.indexOf(this), 1);
  }

  replaceWith(node) {
    node.parent = this.parent;
    this.parent.childNodes[this.parent.childNodes.indexOf(this)] = node;
  }

  replaceChildren() {
    this.childNodes = [];
  }

  get textContent() {
    return this.childNodes.map((child) => child.textContent).join("");
  }

  set textContent(text) {
    this.childNodes = [];
    this.append(text);
  }
}

export class Text extends Node {
  constructor(data) {
    super();
    this.data = data;
  }

  appendData(more) {
    this.data += more;
  }

  get textContent() {
    return this.data;
  }
}

export class Element extends Node {
  constructor(tag) {
    super();
    this.tag = tag.toLowerCase();
    this.attributes = {};
  }

  setAttribute(name, value) {
    this.attributes[name.toLowerCase()] = String(value);
  }

  addEventListener() {}
}

export const document = {
  createElement: (tag) => new Element(tag),
  createElementNS: (_, tag) => new Element(tag),
  createTextNode: (text) => new Text(text),
};

/** The tree as nested arrays, adjacent texts joined: comparable with deepEqual. */
export function shape(node) {
  if (node instanceof Text) return node.data;
  const children = [];
  for (const child of node.childNodes.map(shape)) {
    const last = children.length - 1;
    if (typeof child === "string" && typeof children[last] === "string") children[last] += child;
    else if (child !== "") children.push(child);
  }
  return [node.tag, node.attributes, ...children];
}

export function* walk(node) {
  yield node;
  for (const child of node.childNodes) yield* walk(child);
}
