// The Markdown parser: what it makes of a text, and that it makes the same however the text arrives.

import assert from "node:assert/strict";
import { test } from "node:test";
import { plain } from "../../static/js/inline.js";
import { MarkdownStream, parse } from "../../static/js/markdown.js";

const SAMPLE = `# Title *with* emphasis #

First **bold** paragraph with \`code\` and a [link](https://example.com/a_(b) "t"),
a second line\\
and a break. Grüße, 日本語, 👩‍🔬 [1][2].
1. one
   - nested \`a|b\`

     a second paragraph
   - [x] done
2. two
lazy line

* other
  > quoted
  > - list in quote
still lazy

| a | b \\| c |
|:--|:-:|
| 1 | **2** |
| [3] | https://example.org/x. |
after | the table
- - -
~~~rust
fn main() { // **not bold** [1]

}
~~~
> quote
lazily

\`\`\`js
unclosed *
`;

function arrive(chunks, looking) {
  const stream = new MarkdownStream();
  for (const chunk of chunks) {
    stream.push(chunk);
    if (looking) stream.blocks(true);
  }
  return stream.blocks(false).blocks;
}

test("a text cut at every byte gives the tree of the whole", () => {
  const bytes = new TextEncoder().encode(SAMPLE);
  const whole = parse(SAMPLE);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const decoder = new TextDecoder();
    const first = decoder.decode(bytes.subarray(0, cut), { stream: true });
    const second = decoder.decode(bytes.subarray(cut));
    assert.deepEqual(arrive([first, second], true), whole, `cut at byte ${cut}`);
  }
});

test("letter by letter, looked at after each, gives the tree of the whole", () => {
  assert.deepEqual(arrive([...SAMPLE], true), parse(SAMPLE));
  assert.deepEqual(arrive(SAMPLE.split(""), true), parse(SAMPLE));
});

test("every prefix, with lines ended by CR LF too, settles to its own whole", () => {
  for (const text of [SAMPLE, SAMPLE.replaceAll("\n", "\r\n")]) {
    const stream = new MarkdownStream();
    for (let end = 1; end <= text.length; end += 1) {
      stream.push(text[end - 1]);
      assert.deepEqual(stream.blocks(false).blocks, parse(text.slice(0, end)), `prefix of ${end}`);
    }
  }
});

test("random fragments arrive alike in random pieces", () => {
  const bits = ["**", "*", "_", "`", "```\n", "\n", "\n\n", "- ", "1. ", "  ", "> ", "# ", "|", "|-|-|\n", "| a | b |\n", "[1]", "[x](", "https://a.example", ")", "text ", "~~", "\\", "---\n", "<br>", "&amp;", "\t", "é"];
  let seed = 7;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 1500; round += 1) {
    const pieces = Array.from({ length: 1 + random(24) }, () => bits[random(bits.length)]);
    assert.deepEqual(arrive(pieces, true), parse(pieces.join("")), JSON.stringify(pieces));
  }
});

test("settled blocks are kept as they are", () => {
  const stream = new MarkdownStream();
  stream.push("# One\n\ntwo\n\nthree\n\nfour");
  const first = stream.blocks(true);
  assert.equal(first.settled, 2);
  stream.push(" and more\n\nfive");
  const second = stream.blocks(true);
  assert.equal(second.settled, 3);
  assert.equal(second.blocks[0], first.blocks[0]);
});

const block = (text) => parse(text)[0];
const inline = (text) => block(text).c;
const s = (text) => ({ t: "text", s: text });

test("blocks", () => {
  assert.deepEqual(block("### a ###"), { t: "h", level: 3, c: [s("a")] });
  assert.deepEqual(parse("#no heading"), [{ t: "p", c: [s("#no heading")] }]);
  assert.deepEqual(parse("a\n---\nb").map((one) => one.t), ["p", "hr", "p"]);
  assert.deepEqual(block("```js x\n**a**\n\n  b\n```"), { t: "pre", lang: "js", s: "**a**\n\n  b" });
  assert.deepEqual(parse("1. a\n   ```\n   x\n   ```\n2. b").map((one) => [one.t, one.c.length]), [["ol", 2]]);
  assert.equal(block("7. a\n8. b").start, 7);
  assert.deepEqual(parse("1. a\n  - b").map((one) => one.t), ["ol"]);
  assert.deepEqual(parse("- a\n\n\n- b").map((one) => [one.t, one.c.length]), [["ul", 2]]);
  assert.deepEqual(parse("- a\n\nb").map((one) => one.t), ["ul", "p"]);
  assert.deepEqual(parse("in 2026\n7. of them").map((one) => one.t), ["p"]);
  assert.deepEqual(block("> a\n> > b").c.map((one) => one.t), ["p", "quote"]);
  assert.deepEqual(block("- [x] a").c[0].c[0], { t: "task", on: true });
});

test("tables", () => {
  const table = block("| a | b |\n|:-:|--:|\n| 1 |\n| 2 | 3 | 4 |");
  assert.deepEqual(table.c.map((row) => row.c.map((cell) => [cell.t, cell.align, plain(cell.c)])), [
    [["th", "center", "a"], ["th", "end", "b"]],
    [["td", "center", "1"], ["td", "end", ""]],
    [["td", "center", "2"], ["td", "end", "3"]],
  ]);
  assert.equal(block("a | b\n---").t, "p");
  assert.deepEqual(parse("before\n| a | b |\n|---|---|\n\nafter").map((one) => one.t), ["p", "table", "p"]);
});

test("emphasis", () => {
  assert.deepEqual(inline("**a *b* c**"), [{ t: "strong", c: [s("a "), { t: "em", c: [s("b")] }, s(" c")] }]);
  assert.deepEqual(inline("***a***"), [{ t: "em", c: [{ t: "strong", c: [s("a")] }] }]);
  assert.deepEqual(inline("snake_case_name 2*3*4"), [s("snake_case_name 2"), { t: "em", c: [s("3")] }, s("4")]);
  assert.deepEqual(inline("a ** b ** ~~c~~ \\*d\\*"), [s("a ** b ** "), { t: "del", c: [s("c")] }, s(" *d*")]);
  assert.deepEqual(inline("`` a`b `` *c"), [{ t: "code", s: "a`b" }, s(" *c")]);
});

test("citations", () => {
  assert.deepEqual(inline("a [1][2] b [3, 4]."), [s("a\u202f"), { t: "cite", n: 1 }, { t: "cite", n: 2 }, s(" b\u202f"), { t: "cite", n: 3 }, { t: "cite", n: 4 }, s(".")]);
  assert.deepEqual(inline("`[1]` [a] [1234]"), [{ t: "code", s: "[1]" }, s(" [a] [1234]")]);
  assert.deepEqual(inline("[1](https://a.example)")[0].t, "link");
  assert.deepEqual(inline("**x [1]**"), [{ t: "strong", c: [s("x\u202f"), { t: "cite", n: 1 }] }]);
});

test("links and images", () => {
  const link = { t: "link", href: "https://a.example/x", host: "a.example", c: [s("t")] };
  assert.deepEqual(inline("[t](https://a.example/x)"), [link]);
  assert.deepEqual(inline("[t](<https://a.example/x> 'title')"), [link]);
  assert.deepEqual(inline("![t](https://a.example/x)"), [{ t: "link", image: true, href: link.href, host: link.host, c: [s("t")] }]);
  assert.deepEqual(inline("see https://a.example/x."), [s("see "), { ...link, c: [s("https://a.example/x")] }, s(".")]);
  assert.deepEqual(inline("(https://a.example/x_(y))")[1].href, "https://a.example/x_(y)");
  assert.deepEqual(inline("<me@a.example>")[0].href, "mailto:me@a.example");
  assert.deepEqual(inline("[a [b](https://a.example/x) c](mailto:c@b.example)").filter((one) => one.t === "link").length, 1);
  assert.deepEqual(inline("[t][ref]"), [s("[t][ref]")]);
});

test("hostile sizes are parsed in reasonable time", () => {
  const n = 50_000;
  const hostile = ["[", "*a ", "**", "`a``b", "![", "](", "> ", "- ", "|", "a|\n", "_a*", "<", "&", "[[a]", "[a](https://x.example ", "https://", "~~a", "\\", "1. ", "#", "[1", "(", " \n", "*a_ "];
  for (const bit of hostile) {
    const text = bit.repeat(n / bit.length);
    const start = performance.now();
    parse(text);
    const took = performance.now() - start;
    assert.ok(took < 2000, `${JSON.stringify(bit)} took ${took.toFixed(0)} ms`);
  }
});
