// The two kinds of bubble: a question, and an answer drawn from a turn.

import { focusStep, samePlace, switcher } from "./branch.js";
import { fill, h, icon, iconButton } from "./dom.js";
import { QuestionEditor } from "./editor.js";
import { money, pageLabel, short } from "./format.js";
import { copyText, MarkdownView } from "./render.js";
import { splitCitations } from "./turn.js";

/** A question. `onEdit(id, text)` asks another in its place; `onTurn(id, step)` turns to another version. */
export class QuestionView {
  constructor({ text, onEdit, onTurn }) {
    this.text = text;
    this.onEdit = onEdit;
    this.onTurn = onTurn;
    this.placed = null;
    this.bubble = h("div", { class: "bubble" }, text.split(/\n{2,}/).map((block) => h("p", { dir: "auto" }, block)));
    this.tools = h("div", { class: "tools" });
    this.el = h("article", { class: "message user", "data-testid": "message-user", "aria-label": "You" }, this.bubble, this.tools);
  }

  get id() {
    return this.placed?.id ?? null;
  }

  /** It is stored: it can be edited, and turned from. */
  place({ id, siblings }) {
    if (samePlace(this.placed, { id, siblings })) return;
    this.placed = { id, siblings };
    this.edit = h("button", { type: "button", class: "link-button idle-only edit", "data-testid": "edit", onclick: () => this.#open() }, icon("edit"), "Edit");
    fill(this.tools, this.edit, switcher(this.placed, this.onTurn));
  }

  focusStep(step) {
    focusStep(this.tools, step);
  }

  #open() {
    const editor = new QuestionEditor(this.text, { onSend: (text) => this.onEdit(this.id, text), onCancel: () => this.#close() });
    this.el.classList.add("editing");
    fill(this.el, editor.el);
    editor.focus();
  }

  #close() {
    this.el.classList.remove("editing");
    fill(this.el, this.bubble, this.tools);
    this.edit.focus();
  }
}

/** An answer. `onCite(citation)` opens a source; `onDecide(turn, approval, yes)` says a word on a call; `onRegenerate(id)` asks for another; `onTurn(id, step)` turns to one. */
export class AnswerView {
  constructor({ onCite, onDecide, onRegenerate, onTurn, onDrawn }) {
    this.onCite = onCite;
    this.onDecide = onDecide;
    this.onRegenerate = onRegenerate;
    this.onTurn = onTurn;
    this.onDrawn = onDrawn ?? (() => {});
    this.turn = null;
    this.placed = null;
    this.frame = 0;
    this.marked = 0;
    this.text = h("div", { class: "markdown" });
    this.told = h("div", { class: "notice told", role: "status", "data-testid": "notices", hidden: true });
    this.notice = h("div", { class: "notice", hidden: true });
    this.foot = h("footer", { class: "answer-foot" });
    this.thinking = h("div", { class: "thinking", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
    this.el = h("article", { class: "message assistant", "data-testid": "message-assistant", "data-status": "streaming", "aria-label": "Answer", "aria-busy": "true" },
      this.thinking, this.text, this.told, this.notice, this.foot);
    this.markdown = new MarkdownView(this.text, (n) => this.#mark(n));
  }

  /** Draws on the next frame; at the end at once, because a hidden tab has no frames. */
  update(turn) {
    this.turn = turn;
    if (turn.status !== "streaming") {
      cancelAnimationFrame(this.frame);
      this.frame = 0;
      this.#draw();
    } else if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.#draw();
      });
    }
  }

  /** Shows an answer that need not continue what was shown. */
  replace(turn) {
    this.markdown.reset();
    this.update(turn);
  }

  get id() {
    return this.placed?.id ?? this.turn?.messageId ?? null;
  }

  /** Its place among the answers to the question. */
  place({ id, siblings }) {
    if (samePlace(this.placed, { id, siblings })) return;
    this.placed = { id, siblings };
    if (this.turn && this.turn.status !== "streaming") this.#finish();
    else fill(this.foot, h("div", { class: "meta" }, this.#switcher()));
  }

  focusStep(step) {
    focusStep(this.foot, step);
  }

  #switcher() {
    return this.placed && switcher(this.placed, this.onTurn);
  }

  /** A small line while the connection is away; null takes it off. */
  waiting(sentence) {
    this.notice.hidden = !sentence;
    this.notice.className = "notice waiting";
    fill(this.notice, sentence ? h("span", { class: "spinner" }) : null, sentence);
  }

  #draw() {
    const { turn } = this;
    const open = turn.status === "streaming";
    if (turn.citations.length !== this.marked && this.markdown.length) this.markdown.reset();
    this.marked = turn.citations.length;
    this.markdown.show(turn.text, open);
    this.thinking.hidden = !open || turn.text !== "";
    this.#tell();
    if (!open) this.#finish();
    this.onDrawn();
  }

  /** What the server says of the answer: that another model goes on, or that a filter ended it. */
  #tell() {
    const { notices, text, approvals, status } = this.turn;
    const nothing = status === "complete" && !text && !approvals.length && !notices.length;
    const sentences = nothing ? ["This question was not answered."] : notices;
    this.told.hidden = !sentences.length;
    fill(this.told, sentences.map((sentence) => h("p", { dir: "auto" }, sentence)));
  }

  #finish() {
    const { turn } = this;
    this.el.dataset.status = turn.status;
    this.el.removeAttribute("aria-busy");
    this.notice.hidden = turn.status === "complete";
    this.notice.className = `notice ${turn.status}`;
    if (turn.status === "stopped") fill(this.notice, icon("stop"), "Stopped.");
    if (turn.status === "failed") {
      fill(this.notice, icon("alert"), h("span", { dir: "auto" }, turn.errorText ?? "This answer was not finished."),
        this.id ? iconButton("retry", "Ask again", { text: true, class: "button idle-only", onclick: () => this.onRegenerate(this.id) }) : null);
    }
    fill(this.foot, this.turn.approvals.map((approval) => this.#approval(approval)), this.#sources(), this.#meta());
  }

  /** What would be sent is shown as it is: that is what is agreed to. */
  #approval(approval) {
    const decide = (yes) => () => this.onDecide(this.turn.id, approval, yes);
    return h("section", { class: "approval", "data-testid": "approval", "aria-label": `Approve ${approval.tool_name}?` },
      h("p", null, "Shall ", h("code", { dir: "ltr" }, approval.tool_name), " be called with this?"),
      h("pre", { dir: "ltr", tabindex: "0" }, JSON.stringify(approval.input, null, 2)),
      h("div", { class: "approval-buttons" },
        h("button", { type: "button", class: "button idle-only", "data-testid": "approve", onclick: decide(true) }, "Approve"),
        h("button", { type: "button", class: "button idle-only", "data-testid": "decline", onclick: decide(false) }, "Decline")));
  }

  #sources() {
    const { cited, read } = splitCitations(this.turn);
    if (!this.turn.text || (!cited.length && !read.length)) return null;
    const chips = (list) => h("ul", { class: "chips", "aria-label": "Sources" }, list.map((citation) => h("li", null, this.#chip(citation))));
    if (!read.length) return chips(cited);
    return [cited.length ? chips(cited) : null, h("details", { class: "also-read" }, h("summary", null, `${cited.length ? "Also read" : "Read"} (${read.length})`), chips(read))];
  }

  #chip(citation) {
    return h("button", { type: "button", class: "chip", "data-testid": "citation", "data-index": citation.index, onclick: () => this.onCite(citation) },
      h("span", { class: "chip-index" }, `[${citation.index}]`), h("bdi", { class: "chip-name" }, citation.file_name), h("span", { class: "chip-page" }, `· ${pageLabel(citation)}`));
  }

  #mark(n) {
    const citation = this.turn.citations.find((one) => one.index === n);
    if (!citation) return null;
    const name = `Source ${n}: ${citation.file_name}, ${pageLabel(citation)}`;
    return h("button", { type: "button", class: "cite", "data-testid": "citation", "data-index": n, title: `${citation.file_name} · ${pageLabel(citation)}`, "aria-label": name, onclick: () => this.onCite(citation) }, String(n));
  }

  #meta() {
    const { usage, text, status } = this.turn;
    const versions = this.#switcher();
    const again = this.id && status !== "failed"; // a failed one says it larger
    const label = h("span", null, "Copy");
    const parts = [];
    if (usage) {
      const about = usage.provenance === "estimated" ? "≈ " : "";
      parts.push(`${about}${short(usage.input_tokens)} in · ${short(usage.output_tokens)} out`);
      parts.push(usage.cost_nano_usd == null ? "no price" : money(usage.cost_nano_usd));
    }
    if (!parts.length && !text && !versions && !again) return null;
    const title = usage ? `Tokens read and written${usage.provenance === "estimated" ? " (estimated)" : ""}` : null;
    return h("div", { class: "meta" },
      versions,
      text ? h("button", { type: "button", class: "link-button", "aria-label": "Copy the answer", onclick: () => copyText(text, label) }, icon("copy"), label) : null,
      again ? h("button", { type: "button", class: "link-button idle-only", "data-testid": "regenerate", onclick: () => this.onRegenerate(this.id) }, icon("retry"), "Regenerate") : null,
      parts.length ? h("span", { title, "data-testid": "answer-usage" }, parts.join(" · ")) : null);
  }
}
