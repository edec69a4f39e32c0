// The box one writes in: Enter sends, Shift+Enter is a new line, Stop while an answer runs.

import { h, iconButton } from "./dom.js";
import { fit, LONGEST, sends } from "./textbox.js";

/** Emits `ask` (`detail`: the text), `stop`, `attach`. */
export class Composer extends EventTarget {
  constructor() {
    super();
    this.busy = false;
    this.input = h("textarea", {
      class: "composer-input", rows: "1", dir: "auto", maxlength: LONGEST, placeholder: "Ask about your documents…",
      "aria-label": "Your question", enterkeyhint: "send", "data-testid": "composer",
      oninput: () => this.#changed(), onkeydown: (event) => this.#key(event),
    });
    this.sendButton = iconButton("send", "Send", { class: "round primary", "data-testid": "send", onclick: () => this.#send() });
    this.stopButton = iconButton("stop", "Stop the answer (Esc)", { class: "round stop", "data-testid": "stop", hidden: true, onclick: () => this.#emit("stop") });
    this.el = h("div", { class: "composer" },
      iconButton("clip", "Add documents", { class: "round plain", onclick: () => this.#emit("attach") }),
      this.input, this.stopButton, this.sendButton);
    this.#changed();
  }

  set(text) {
    this.input.value = text;
    this.#changed();
    this.input.focus();
  }

  setBusy(busy) {
    const hadFocus = this.el.contains(document.activeElement) && document.activeElement !== this.input;
    this.busy = busy;
    this.stopButton.hidden = !busy;
    this.sendButton.hidden = busy;
    if (hadFocus) this.input.focus();
    this.#changed();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #send() {
    const text = this.input.value.trim();
    if (!text || this.busy) return;
    this.set("");
    this.#emit("ask", text);
  }

  #key(event) {
    if (!sends(event)) return;
    event.preventDefault();
    this.#send();
  }

  #changed() {
    this.sendButton.disabled = this.input.value.trim() === "";
    fit(this.input);
  }
}
