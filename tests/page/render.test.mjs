// What reaches the page: only elements and attributes of the allow-list, only harmless addresses.

import assert from "node:assert/strict";
import { test } from "node:test";
import { document, Element, shape, walk } from "./dom-stub.mjs";

globalThis.document = document;
const { MarkdownView } = await import("../../static/js/render.js");

const ELEMENTS = new Set("div p h3 h4 h5 h6 ul ol li blockquote hr br strong em del code pre a span button table tr th td svg path".split(" "));
const ATTRIBUTES = new Set("dir class href target rel referrerpolicy start scope tabindex role aria-label aria-hidden focusable type viewbox d".split(" "));

const PAYLOADS = [
  "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<iframe src=javascript:alert(1)>", "<a href=\"javascript:alert(1)\">x</a>",
  "<style>*{display:none}</style>", "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>", "<object data=x>", "<base href=//evil.example>", "<meta http-equiv=refresh content=0;url=//evil.example>",
  "[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))", "[a](java\tscript:alert(1))", "[a](java\nscript:alert(1))", "[a]( javascript:alert(1))", "[a](\u0001javascript:alert(1))",
  "[a](&#106;avascript:alert(1))", "[a](javascript&colon;alert(1))", "[a](data:text/html;base64,PHNjcmlwdD4=)", "[a](vbscript:msgbox(1))", "[a](blob:https://a.example/x)", "[a](file:///etc/passwd)",
  "[a](//evil.example)", "[a](/v1/auth/logout)", "[a](https:javascript:alert(1))", "[a](https://good.example@evil.example/)", "[a](https:\\\\evil.example)", "[a](https://evil.example/\u202egpj)",
  "[a](https://ex\u200bample.com)", "[a](mailto:x@a.example?body=javascript:alert(1)&attach=/etc/passwd)", "[a](mailto:javascript:alert(1))", "![a](javascript:alert(1))", "![a](https://evil.example/pixel.gif?secret)", "![a](data:image/svg+xml,<svg onload=alert(1)>)",
  "<javascript:alert(1)>", "<https://a.example\" onmouseover=\"alert(1)>", "[a]: javascript:alert(1)\n\n[a]", "[a](https://a.example \"x\" onclick=alert(1))", "[a](https://a.example/\" onclick=\"alert(1))", "[<img src=x onerror=alert(1)>](https://a.example)",
  "`<script>alert(1)</script>`", "```<img src=x onerror=alert(1)>\n<script>\n```", "| <script> | b |\n|---|---|\n| <img src=x onerror=alert(1)> | [a](javascript:1) |", "[a](<javascript:alert(1)>)", "&lt;script&gt;alert(1)&lt;/script&gt;", "javascript:alert(1)", "[1](javascript:alert(1))",
  "https://a.example/<script>alert(1)</script>", "[![a](javascript:x)](javascript:y)", "[x](ftp://a.example)", "[x](HTTPS://user:pass@a.example)", "<a@a.example\" onclick=x>",
];

function draw(chunks) {
  const root = new Element("div");
  const view = new MarkdownView(root, (n) => (n < 3 ? Object.assign(new Element("button"), { attributes: { class: "cite" } }) : null));
  let text = "";
  for (const chunk of chunks) {
    text += chunk;
    view.show(text, true);
    check(root, text);
  }
  view.show(text, false);
  check(root, text);
  return root;
}

function check(root, text) {
  for (const node of walk(root)) {
    if (!(node instanceof Element)) continue;
    assert.ok(ELEMENTS.has(node.tag), `<${node.tag}> from ${text}`);
    for (const [name, value] of Object.entries(node.attributes)) {
      assert.ok(ATTRIBUTES.has(name), `${name} on <${node.tag}> from ${text}`);
      if (name !== "href") continue;
      assert.ok(["https:", "http:", "mailto:"].includes(new URL(value).protocol), `${value} from ${text}`);
      assert.equal(node.attributes.rel, "noopener noreferrer nofollow");
      assert.equal(node.attributes.target, "_blank");
    }
  }
}

test(`${PAYLOADS.length} attacks stay text`, () => {
  assert.ok(PAYLOADS.length >= 40);
  for (const payload of PAYLOADS) {
    for (const text of [payload, `**${payload}**`, `- ${payload}`, `> ${payload}`, `| a | ${payload}`, `[x ${payload}](https://a.example)`]) {
      draw([text]);
      draw([...text]);
    }
  }
});

test("an attack that is refused is shown as it was written", () => {
  assert.equal(draw(["[a](javascript:alert(1))"]).textContent, "[a](javascript:alert(1))");
  assert.equal(draw(["<script>alert(1)</script>"]).textContent, "<script>alert(1)</script>");
});

test("a link shows its host unless the text is the address", () => {
  assert.equal(draw(["[google.com](https://evil.example/x)"]).textContent, "google.com (evil.example)");
  assert.equal(draw(["[https://good.example.evil.example](https://evil.example/)"]).textContent, "https://good.example.evil.example (evil.example)");
  assert.equal(draw(["[https://evil.example](https://evil.example.other.example/)"]).textContent, "https://evil.example (evil.example.other.example)");
  assert.equal(draw(["https://a.example/x"]).textContent, "https://a.example/x");
  assert.equal(draw(["![chart](https://a.example/x.png)"]).textContent, "Image: chart (a.example)");
});

test("drawn letter by letter, the page is as if drawn at once", () => {
  const text = "# T\n\nA **b** [1] and [l](https://a.example/) [9].\n\n1. x\n   - y\n   - z\n2. w\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```js\nlet a;\n```\n\n> q\n\n- [ ] t\n\nend";
  assert.deepEqual(shape(draw([...text])), shape(draw([text])));
});

test("settled blocks keep their elements while more arrives", () => {
  const root = new Element("div");
  const view = new MarkdownView(root, () => null);
  view.show("# One\n\ntwo\n\nthr", true);
  const [first, second, third] = root.childNodes;
  view.show("# One\n\ntwo\n\nthree **and", true);
  view.show("# One\n\ntwo\n\nthree **and** four\n\n- five", false);
  assert.equal(root.childNodes[0], first);
  assert.equal(root.childNodes[1], second);
  assert.equal(root.childNodes[2], third);
  assert.equal(root.childNodes.length, 4);
});
