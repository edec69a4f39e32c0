// Emphasis: which delimiter runs belong together, and the tree they make.

const MAX_DEPTH = 20;

/** Pairs the emphasis delimiters (the CommonMark delimiter-stack rule), then folds the items to a tree. */
export function build(items) {
  pair(items);
  const root = [];
  const stack = [root];
  const push = (node) => {
    const into = stack[stack.length - 1];
    const last = into[into.length - 1];
    if (node.t === "text" && last?.t === "text") into[into.length - 1] = { t: "text", s: last.s + node.s };
    else into.push(node);
  };
  for (const item of items) {
    if (item.node) {
      push(item.node);
      continue;
    }
    item.closes.forEach(() => stack.pop());
    if (item.count) push({ t: "text", s: item.ch.repeat(item.count) });
    for (const t of item.opens) {
      const node = { t, c: [] };
      if (stack.length > MAX_DEPTH) {
        stack.push(stack[stack.length - 1]);
      } else {
        push(node);
        stack.push(node.c);
      }
    }
  }
  return root;
}

function pair(items) {
  let tail = null;
  let head = null;
  for (const item of items) {
    if (!item.ch) continue;
    item.previous = tail;
    item.next = null;
    if (tail) tail.next = item;
    head ??= item;
    tail = item;
  }
  const bottoms = new Map();
  const unlink = (item) => {
    if (item.previous) item.previous.next = item.next;
    if (item.next) item.next.previous = item.previous;
  };
  let closer = head;
  while (closer) {
    if (!closer.close) {
      closer = closer.next;
      continue;
    }
    const key = `${closer.ch}${closer.open}${closer.length % 3}`;
    const bottom = bottoms.get(key) ?? null;
    let opener = closer.previous;
    while (opener && opener !== bottom && !matches(opener, closer)) opener = opener.previous;
    if (!opener || opener === bottom) {
      bottoms.set(key, closer.previous);
      const next = closer.next;
      if (!closer.open) unlink(closer);
      closer = next;
      continue;
    }
    const used = opener.count >= 2 && closer.count >= 2 ? 2 : 1;
    opener.opens.unshift(opener.ch === "~" ? "del" : used === 2 ? "strong" : "em");
    closer.closes.push(used);
    opener.count -= used;
    closer.count -= used;
    opener.next = closer;
    closer.previous = opener;
    if (opener.count === 0) unlink(opener);
    if (closer.count === 0) {
      const next = closer.next;
      unlink(closer);
      closer = next;
    }
  }
}

function matches(opener, closer) {
  if (!opener.open || opener.ch !== closer.ch) return false;
  const odd = (opener.close || closer.open) && (opener.length + closer.length) % 3 === 0;
  return !odd || (opener.length % 3 === 0 && closer.length % 3 === 0);
}
