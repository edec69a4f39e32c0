// API keys in words.

import assert from "node:assert/strict";
import { test } from "node:test";
import { document, Element, walk } from "./dom-stub.mjs";

globalThis.document = document;
const { about, endsAt, KeysView, scopesOf } = await import("../../static/js/keys.js");
const { day } = await import("../../static/js/format.js");

const NOW = Date.parse("2026-03-01T12:00:00Z");
const key = (more) => ({ id: "1", name: "bot", hint: "wxyz", scopes: ["chat", "files"], expires_at: null, last_used_at: null, previous_until: null, ...more });

test("a role offers the scopes that it has", () => {
  assert.deepEqual(scopesOf("member"), ["chat", "files", "usage"]);
  assert.deepEqual(scopesOf("billing"), ["usage", "billing"]);
  assert.equal(scopesOf("owner").length, 5);
});

test("a key ends when it was chosen to, or never", () => {
  assert.equal(endsAt(30, NOW), "2026-03-31T12:00:00.000Z");
  assert.equal(endsAt(0, NOW), undefined);
});

test("a key says what it is for, when it was used and when it ends", () => {
  assert.equal(about(key(), NOW), "chat, files · never used");
  const at = "2026-02-01T00:00:00Z";
  assert.equal(about(key({ last_used_at: at, expires_at: at }), NOW), `chat, files · last used on ${day(at)} · ended on ${day(at)}`);
  assert.match(about(key({ expires_at: "2026-04-01T00:00:00Z" }), NOW), / ends on /);
  assert.match(about(key({ previous_until: at }), NOW), /the secret before works until/);
});

test("every field has a name, and a list has no secret", async () => {
  const view = new KeysView({ get: async () => ({ data: [key()] }) }, "member");
  await view.refresh();
  const nodes = [...walk(view.el)].filter((node) => node instanceof Element);
  const of = (tag) => nodes.filter((node) => node.tag === tag);
  const named = (input) => input.parent.tag === "label" && input.parent.textContent.length > 0;
  assert.equal(of("input").length, 4);
  assert.ok([...of("input"), ...of("select")].every(named));
  assert.deepEqual(of("button").slice(1).map((button) => button.attributes["aria-label"]), ["Rotate bot", "Revoke bot"]);
  assert.equal(of("code")[0].textContent, " dk_…wxyz");
});
