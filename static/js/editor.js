// A question opened for editing in its place: Enter sends, Shift+Enter is a new line, Escape cancels.

import { h } from "./dom.js";
import { fit, LONGEST, sends } from "./textbox.js";

export class QuestionEditor {
  /** `onSend(text)`, `onCancel()`. */
  constructor(text, { onSend, onCancel }) {
    this.onSend = onSend;
    this.onCancel = onCancel;
    this.input = h("textarea", {
      class: "composer-input", rows: "1", dir: "auto", maxlength: LONGEST, value: text, "aria-label": "Edit your question",
      enterkeyhint: "send", "data-testid": "editor", oninput: () => this.#changed(), onkeydown: (event) => this.#key(event),
    });
    this.send = h("button", { type: "button", class: "button primary idle-only", "data-testid": "editor-send", onclick: () => this.#send() }, "Send");
    this.el = h("div", { class: "editor" }, this.input,
      h("div", { class: "editor-actions" },
        h("button", { type: "button", class: "button", "data-testid": "editor-cancel", onclick: () => this.onCancel() }, "Cancel"),
        this.send));
  }

  /** Once it is in the page. */
  focus() {
    this.#changed();
    this.input.focus();
    this.input.setSelectionRange(this.input.value.length, this.input.value.length);
  }

  #send() {
    const text = this.input.value.trim();
    if (text) this.onSend(text);
  }

  #key(event) {
    if (event.key === "Escape" && !event.isComposing) {
      event.preventDefault(); // it does not stop an answer as well
      this.onCancel();
    } else if (sends(event)) {
      event.preventDefault();
      this.#send();
    }
  }

  #changed() {
    this.send.disabled = this.input.value.trim() === "";
    fit(this.input);
  }
}
