// What is written of an assistant, as the API wants it and as it is said.

import assert from "node:assert/strict";
import { test } from "node:test";
import { document } from "./dom-stub.mjs";

globalThis.document = document;
const { FIELDS, read, slugOf, written } = await import("../../static/js/assistant-form.js");
const { standing } = await import("../../static/js/assistants.js");

const field = (name) => FIELDS.find((one) => one.name === name);

test("what is written is what is read, and nothing is nothing", () => {
  const values = { name: "Librarian", slug: "l", description: "", greeting: "Hi, you", instructions: "One.\nTwo.", collections: ["Law", "Sea"], language: null, model: null, temperature: 0.7, tools: [] };
  for (const [name, value] of Object.entries(values)) {
    assert.deepEqual(read(field(name), written(field(name), value)), value, name);
  }
  assert.equal(read(field("temperature"), " 0,5 "), 0.5);
  assert.equal(read(field("temperature"), ""), null);
  assert.equal(read(field("temperature"), "hot"), "hot", "the server says what is wrong with it");
  assert.deepEqual(read(field("collections"), " , Law,, Sea "), ["Law", "Sea"]);
});

test("a short name is made of any name", () => {
  assert.equal(slugOf("  Müller & Söhne: Law! "), "muller-sohne-law");
  assert.equal(slugOf("法律"), "");
});

test("an assistant says how far it is", () => {
  const one = { version: 3, changed: false, archived_at: null };
  assert.equal(standing(one), "Version 3");
  assert.equal(standing({ ...one, changed: true }), "Version 3, with unpublished changes");
  assert.equal(standing({ ...one, version: null }), "Draft, not published");
  assert.equal(standing({ ...one, archived_at: "2026-11-24T00:00:00Z" }), "Archived");
});
