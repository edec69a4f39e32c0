// Words and numbers for people.

import assert from "node:assert/strict";
import { test } from "node:test";
import { size, uploadHint } from "../../static/js/format.js";

test("sizes have at most one decimal, and none that says nothing", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 20 * 1024, 25 * 1024 * 1024].map(size), ["0 B", "1023 B", "1 KB", "1.5 KB", "20 KB", "25 MB"]);
  assert.equal(size(3.42 * 1024 * 1024), "3.4 MB");
});

test("what may be uploaded is said in words", () => {
  const limits = { accept: [".pdf", ".md", ".markdown", ".txt", ".html", ".htm"], max_bytes: 25 * 1024 * 1024 };
  assert.equal(uploadHint(limits), "PDF, Markdown, plain text or HTML, up to 25 MB each.");
  assert.equal(uploadHint({ accept: [".epub"] }), ".epub.");
  assert.equal(uploadHint(null), "PDF, Markdown or plain text.");
});
