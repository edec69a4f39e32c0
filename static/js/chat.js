// The middle of the window: shows one thread, keeps the running ones, and routes frames to them.

import { announce, complain, fill, h, icon, iconButton, toast } from "./dom.js";
import { Composer } from "./composer.js";
import { isForLater, reason } from "./refusal.js";
import { AutoScroll } from "./scroll.js";
import { Thread } from "./thread.js";

/** Emits `shown` (another conversation), `ended` (a turn is over), `created` (a conversation got its id), `elsewhere` (`detail`: a frame about a conversation), `attach`, `refused` (a limit), `dismissed` (the warning). */
export class Chat extends EventTarget {
  constructor({ api, socket, onCite }) {
    super();
    this.api = api;
    this.socket = socket;
    this.onCite = onCite;
    this.assistants = [];
    this.suggest = () => [];
    this.thread = null;
    this.running = new Set();
    this.#build();
    this.#listen();
  }

  #build() {
    this.composer = new Composer();
    this.holder = h("div", { class: "holder" });
    this.jump = iconButton("down", "Jump to latest", { class: "jump", hidden: true, text: true });
    this.box = h("div", { class: "scroller", tabindex: "-1", "aria-label": "Messages", role: "region" }, this.holder);
    this.warningText = h("span", { "data-testid": "quota-warning" });
    this.warning = h("div", { class: "warning", hidden: true }, icon("alert"), this.warningText,
      iconButton("close", "Put this warning away", { "data-testid": "quota-warning-close", onclick: () => this.#dismiss() }));
    this.refused = h("div", { class: "notice failed", role: "alert", hidden: true, "data-testid": "refused" });
    this.picker = h("select", { class: "picker", "aria-label": "Assistant", hidden: true, "data-testid": "assistant-picker", onchange: () => this.#welcome() });
    this.el = h("main", { class: "chat", id: "main", tabindex: "-1" },
      this.box,
      h("div", { class: "dock" }, this.jump, this.warning, this.refused, this.picker, this.composer.el,
        h("p", { class: "fine" }, "Answers can be wrong. Check the cited page.")));
    this.scroll = new AutoScroll(this.box, this.jump);
  }

  #listen() {
    this.composer.addEventListener("ask", (event) => this.ask(event.detail));
    this.composer.addEventListener("stop", () => this.stop());
    this.composer.addEventListener("attach", () => this.dispatchEvent(new Event("attach")));
    this.socket.addEventListener("frame", (event) => {
      if (event.detail.type === "conversation") {
        this.#happened(event.detail);
        return;
      }
      for (const thread of this.running) if (thread.handle(event.detail)) return;
    });
    for (const [type, method] of [["ready", "connected"], ["down", "disconnected"], ["refused", "refused"]]) {
      this.socket.addEventListener(type, () => this.running.forEach((thread) => thread[method]()));
    }
  }

  /** Something happened in a conversation, perhaps in another tab. */
  #happened(frame) {
    const { thread } = this;
    if (thread?.id === frame.conversation_id && thread?.id) {
      if (frame.event === "turn_started" && !thread.busy) thread.load().catch(() => {});
      if (frame.event === "branched") thread.turned(frame.message_id);
      if (frame.event === "deleted") this.forget(frame.conversation_id);
    }
    this.dispatchEvent(new CustomEvent("elsewhere", { detail: frame }));
  }

  setAssistants(assistants) {
    const { value } = this.picker;
    this.assistants = assistants;
    fill(this.picker, assistants.map((one) => h("option", { value: one.slug }, one.name)));
    if (assistants.some((one) => one.slug === value)) this.picker.value = value;
    this.#welcome();
  }

  get assistant() {
    return this.assistants.find((one) => one.slug === this.picker.value) ?? this.assistants[0] ?? null;
  }

  newChat() {
    this.#show(new Thread({ api: this.api, socket: this.socket, onCite: this.onCite }));
    if (window.matchMedia("(hover: hover)").matches) this.composer.input.focus(); // no keyboard pops up on a phone
  }

  /** An empty thread with an assistant's draft, which only its editors see. */
  tryDraft(draft) {
    this.#show(new Thread({ api: this.api, socket: this.socket, onCite: this.onCite, assistant: draft.id, draft }));
  }

  /** A line above the composer that stays while it is true; null takes it off. */
  warn(sentence, level) {
    if (sentence && this.warningText.textContent !== sentence) announce(sentence);
    this.warningText.textContent = sentence ?? "";
    this.warning.hidden = !sentence || !this.refused.hidden; // the reason says the same, and more
    this.warning.dataset.level = level;
  }

  #dismiss() {
    this.dispatchEvent(new Event("dismissed"));
    this.composer.input.focus();
  }

  /** Why the question in the box was not taken; null takes it off. */
  #explain(problem) {
    this.refused.hidden = !problem;
    fill(this.refused, problem ? [icon("alert"), h("span", { dir: "auto" }, reason(problem))] : null);
    if (problem) this.warning.hidden = true;
  }

  /** The conversation was deleted: what still arrives for it is not wanted. */
  forget(id) {
    for (const thread of this.running) if (thread.id === id) this.running.delete(thread);
    if (this.thread?.id === id) this.newChat();
  }

  async open(id) {
    if (this.thread?.id === id) return;
    const live = [...this.running].find((thread) => thread.id === id);
    if (live) {
      this.#show(live);
      return;
    }
    const thread = new Thread({ api: this.api, socket: this.socket, onCite: this.onCite, id });
    this.#show(thread);
    fill(thread.el, h("div", { class: "loading" }, h("span", { class: "spinner" }), "Loading…"));
    try {
      await thread.load();
      if (this.thread === thread) this.dispatchEvent(new Event("shown")); // whose it is is known now
    } catch (problem) {
      if (problem.status === 404) toast("This conversation does not exist any more.");
      else complain(problem);
      if (this.thread === thread && problem.status !== 401) this.newChat();
    }
  }

  ask(text) {
    if (this.thread.busy) return;
    this.#explain(null);
    if (this.thread.empty && !this.thread.trial) {
      this.thread.assistant = this.assistant?.slug ?? null;
      this.thread.assistantName = this.assistant?.name ?? null;
    }
    this.thread.ask(text);
  }

  stop() {
    this.thread?.stop();
  }

  get busy() {
    return this.thread?.busy ?? false;
  }

  #show(thread) {
    this.thread = thread;
    this.#wire(thread);
    fill(this.holder, thread.el);
    this.composer.setBusy(thread.busy);
    this.#explain(null);
    this.#welcome();
    this.scroll.toEnd();
    this.dispatchEvent(new Event("shown"));
  }

  #wire(thread) {
    if (thread.wired) return;
    thread.wired = true;
    let known = thread.id;
    thread.addEventListener("asked", () => {
      if (thread !== this.thread) return;
      this.#welcome();
      this.scroll.toEnd();
    });
    thread.addEventListener("drawn", () => { if (thread === this.thread) this.scroll.follow(); });
    thread.addEventListener("ended", () => this.dispatchEvent(new CustomEvent("ended", { detail: thread.id })));
    thread.addEventListener("returned", (event) => this.#returned(thread, event.detail));
    thread.addEventListener("changed", () => {
      if (thread.busy) this.running.add(thread);
      else this.running.delete(thread);
      if (thread === this.thread) this.composer.setBusy(thread.busy);
      if (thread.id === known) return;
      known = thread.id;
      this.dispatchEvent(new CustomEvent("created", { detail: thread.id }));
    });
  }

  /** A question was not taken: it goes back to the box, unless another one is written there by now. */
  #returned(thread, { text, problem }) {
    const back = text && thread === this.thread && !this.composer.input.value;
    if (back) this.composer.set(text);
    if (isForLater(problem)) {
      if (thread === this.thread) {
        this.#explain(problem);
        this.#welcome();
      }
      this.dispatchEvent(new Event("refused"));
    } else {
      toast(`Another answer is still running in this conversation.${back ? " Your question is back in the box." : ""}`);
    }
  }

  /** The empty state: a greeting and questions to begin with. */
  #welcome() {
    const blank = this.thread?.empty ?? false;
    const tried = this.thread?.draft?.draft ?? null;
    this.picker.hidden = !blank || tried !== null || this.assistants.length < 2;
    this.holder.querySelector(".welcome")?.remove();
    if (!blank) return;
    const assistant = tried ?? this.assistant;
    this.holder.prepend(h("section", { class: "welcome" },
      h("img", { src: "/static/logo.svg", alt: "", width: "52", height: "52" }),
      h("h2", { dir: "auto" }, assistant?.greeting || "What would you like to know?"),
      assistant?.description ? h("p", { class: "quiet", dir: "auto" }, assistant.description) : null,
      h("div", { class: "suggestions" }, this.suggest().map((text) => h("button", { type: "button", class: "suggestion", dir: "auto", onclick: () => this.ask(text) }, text)))));
  }

  refreshWelcome() {
    this.#welcome();
  }
}
