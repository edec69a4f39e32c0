// Rules of the whole page: what its Content-Security-Policy forbids is not even written down.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../../static/", import.meta.url);
const modules = readdirSync(new URL("js/", root)).filter((name) => name.endsWith(".js"));
const html = readFileSync(new URL("index.html", root), "utf8");

test("no way from text to markup or code", () => {
  const forbidden = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|createContextualFragment|srcdoc|setTimeout\("|setInterval\("/;
  for (const name of modules) {
    const found = forbidden.exec(readFileSync(new URL(`js/${name}`, root), "utf8"));
    assert.equal(found?.[0], undefined, name);
  }
});

test("the document has nothing inline and asks nobody else", () => {
  assert.doesNotMatch(html, /\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)/i);
  for (const [, address] of html.matchAll(/(?:src|href)="([^"]*)"/g)) assert.match(address, /^(?:\/static\/|#)/);
  assert.doesNotMatch(readFileSync(new URL("app.css", root), "utf8"), /url\(|@import/);
});

test("every module is loaded ahead, none is listed that is not there", () => {
  const listed = [...html.matchAll(/(?:modulepreload" href|script type="module" src|script src)="\/static\/js\/([^"]+)"/g)].map((found) => found[1]);
  assert.deepEqual(listed.sort(), modules.sort());
});

test("every import names a file that is there", () => {
  for (const name of modules) {
    for (const [, path] of readFileSync(new URL(`js/${name}`, root), "utf8").matchAll(/from "\.\/([^"]+)"/g)) assert.ok(modules.includes(path), `${name} imports ${path}`);
  }
});
