// What a person does with the React component of docs/ai-sdk.md, built as an app is and shown in jsdom. Says what
// came of it as one line of JSON. Argument: the component.

import { build } from "esbuild";
import { JSDOM } from "jsdom";

const { DOCENT_URL: url, DOCENT_KEY: token } = process.env;
const { window } = new JSDOM("<main></main>", { url });
Object.assign(globalThis, { window, document: window.document });

const entry = `${process.argv[2]}
  export { createElement } from "react";
  export { createRoot } from "react-dom/client";`;
const built = await build({
  stdin: { contents: entry, loader: "jsx", resolveDir: process.cwd() },
  bundle: true, format: "esm", write: false, jsx: "automatic", define: { "process.env.NODE_ENV": '"production"' },
});
const module = Buffer.from(built.outputFiles[0].contents).toString("base64");
const { Chat, createElement, createRoot } = await import(`data:text/javascript;base64,${module}`);

/** A page with one chat. */
class Page {
  constructor(id) {
    this.main = document.body.appendChild(document.createElement("main"));
    this.root = createRoot(this.main);
    this.root.render(createElement(Chat, { id, url, token }));
  }
  close() {
    this.root.unmount();
    this.main.remove();
  }
  answer() {
    return [...this.main.querySelectorAll(".assistant")].at(-1)?.textContent ?? "";
  }
  button(name) {
    return [...this.main.querySelectorAll("button")].find((button) => button.textContent === name);
  }
  ask(text) {
    this.main.querySelector("input").value = text;
    this.main.querySelector("form").requestSubmit();
  }
  /** Resolves once it looks so. */
  until(looks) {
    return new Promise((resolve) => {
      const look = () => looks() && (observer.disconnect(), resolve());
      const observer = new window.MutationObserver(look);
      observer.observe(this.main, { subtree: true, childList: true, characterData: true });
      look();
    });
  }
}

const first = new Page("counting");
await first.until(() => first.button("Ask"));
first.ask("Count.");
await first.until(() => first.answer().includes("w2"));
first.close();

const reloaded = new Page("counting");
await reloaded.until(() => reloaded.answer().includes("w2"));
const other = new Page("other");
await other.until(() => other.button("Ask"));
other.ask("Count on."); // the test lets the first one go on when both wait
await other.until(() => other.answer().includes("w2"));
await reloaded.until(() => reloaded.button("Ask"));
other.button("Stop").click();
await other.until(() => other.button("Ask"));
console.log(JSON.stringify({ reloaded: reloaded.answer(), stopped: other.answer() }));
process.exit(0); // the first page's connection is still there
