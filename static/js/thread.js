// One conversation on the screen: its messages, and the one question that may be running.
// A thread lives on while its turn runs, even when another conversation is shown.

import { Problem } from "./api.js";
import { announce, fill, h, icon, iconButton } from "./dom.js";
import { quotaSentence, seconds } from "./format.js";
import { AnswerView, userMessage } from "./message.js";
import { Applied, applyPart, newTurn, turnOfMessage } from "./turn.js";

const MOST_TRIES = 4;
const UNDELIVERED = new Problem({ code: "unreachable", detail: "The question could not be delivered: the connection broke each time. It may be too long." });

/** Emits `changed` (busy or id), `drawn` (may scroll), `ended` (a turn is over), `returned` (`detail`: a text to edit again). */
export class Thread extends EventTarget {
  constructor({ api, socket, onCite, id = null, assistant = null }) {
    super();
    this.api = api;
    this.socket = socket;
    this.onCite = onCite;
    this.id = id;
    this.assistant = assistant;
    this.title = null;
    this.job = null;
    this.lastQuestion = null;
    this.lost = null;
    this.el = h("div", { class: "thread" });
  }

  get busy() {
    return this.job !== null;
  }

  get empty() {
    return this.id === null && !this.el.hasChildNodes();
  }

  /** Loads the messages, and follows the turn that is running. */
  async load() {
    const [conversation, messages] = await Promise.all([
      this.api.get(`/v1/conversations/${encodeURIComponent(this.id)}`),
      this.api.get(`/v1/conversations/${encodeURIComponent(this.id)}/messages`),
    ]);
    this.title = conversation.title;
    this.assistant = conversation.assistant_id;
    const running = conversation.running_turn_id;
    fill(this.el, messages.data.filter((one) => !(running && one.role === "assistant" && one.turn_id === running)).map((one) => this.#past(one)));
    this.job = null;
    if (running) {
      this.job = { requestId: null, text: this.lastQuestion, turn: newTurn(running), view: this.#answer(this.lastQuestion), stopWanted: false };
      this.el.append(this.job.view.el);
      this.#attach();
    }
    this.#emit("changed");
    this.#emit("drawn");
  }

  #past(message) {
    if (message.role === "user") {
      this.lastQuestion = message.text;
      return userMessage(message.text);
    }
    const view = this.#answer(this.lastQuestion);
    view.update(turnOfMessage(message));
    return view.el;
  }

  #answer(question) {
    return new AnswerView({
      onCite: this.onCite,
      onAskAgain: question ? () => { if (!this.busy) this.ask(question); } : null,
      onDrawn: () => this.#emit("drawn"),
    });
  }

  /** Asks. With the `key` of a question that was not answered, the server takes both for one. */
  ask(text, key = randomId()) {
    this.lastQuestion = text;
    if (this.id === null) this.title = text;
    const asked = userMessage(text);
    const view = this.#answer(text);
    this.el.append(asked, view.el);
    this.job = { requestId: key, text, asked, turn: null, view, stopWanted: false, tries: 0 };
    if (!this.#sendQuestion()) {
      if (this.socket.wanted) view.waiting("Connecting…");
      else this.refused();
    }
    announce("Question sent.");
    this.#emit("changed");
    this.#emit("drawn");
  }

  /** The idempotency key makes this safe to repeat when the answer to it was lost. */
  #sendQuestion() {
    const { requestId, text } = this.job;
    const frame = { type: "send", request_id: requestId, idempotency_key: requestId, text };
    if (this.id) frame.conversation_id = this.id;
    else if (this.assistant) frame.assistant = this.assistant;
    return this.socket.send(frame);
  }

  #attach() {
    const { turn } = this.job;
    return this.socket.send({ type: "attach", turn_id: turn.id, after: turn.last });
  }

  async stop() {
    const { job } = this;
    if (!job) return;
    job.stopWanted = true;
    if (!job.turn || this.socket.send({ type: "stop", turn_id: job.turn.id })) return;
    await this.api.send("POST", `/v1/turns/${encodeURIComponent(job.turn.id)}/stop`).catch(() => {});
  }

  /** The socket is back: continue where it broke. */
  connected() {
    if (!this.job) return;
    this.job.view.waiting(null);
    if (this.job.turn) this.#attach();
    else if ((this.job.tries += 1) > MOST_TRIES) this.#refusedQuestion(UNDELIVERED);
    else this.#sendQuestion();
  }

  disconnected() {
    this.job?.view.waiting(this.job.turn ? "Reconnecting… the answer continues where it was." : "Connecting…");
  }

  refused() {
    this.job?.view.waiting("The server refused the connection. Reload the page to try again.");
  }

  /** True when the frame was for this thread. */
  handle(frame) {
    const { job } = this;
    if (!job) return false;
    const mine = frame.request_id ? frame.request_id === job.requestId : frame.turn_id === job.turn?.id;
    if (!mine) return false;
    if (frame.type === "accepted") this.#accepted(frame);
    else if (frame.type === "part") this.#part(frame);
    else if (frame.type === "error") this.#refusedQuestion(new Problem(frame.problem ?? {}));
    return true;
  }

  #accepted(frame) {
    const { job } = this;
    job.turn ??= newTurn(frame.turn_id);
    this.id = frame.conversation_id;
    job.view.waiting(null);
    if (job.stopWanted) this.stop();
    this.#emit("changed");
  }

  #part(frame) {
    const { job } = this;
    job.view.waiting(null);
    const applied = applyPart(job.turn, frame.offset, frame.part, frame.first_offset);
    if (applied === Applied.Seen) return;
    if (applied === Applied.Gap) {
      this.#attach();
      return;
    }
    job.view.update(job.turn);
    if (applied === Applied.Changed) return;
    this.job = null;
    announce({ complete: "Answer finished.", stopped: "Answer stopped.", failed: "The answer failed." }[job.turn.status]);
    this.#emit("changed");
    this.#emit("ended");
    if (applied === Applied.Rewound || job.turn.status === "failed") this.#correct(job);
  }

  /** Shows what was stored: a server that crashed may have lost the last words that were sent. */
  async #correct({ turn, view }) {
    try {
      const { data } = await this.api.get(`/v1/conversations/${encodeURIComponent(this.id)}/messages`);
      const stored = data.find((one) => one.role === "assistant" && one.turn_id === turn.id);
      if (stored) view.replace({ ...turnOfMessage(stored), errorText: turn.errorText });
    } catch {
      // What was seen stays: it is more than nothing.
    }
  }

  /** The question was not taken, or the turn cannot be followed any more. */
  #refusedQuestion(problem) {
    const { job } = this;
    if (job.turn) {
      this.#lostTurn();
      return;
    }
    this.job = null;
    job.view.el.remove();
    if (problem.code === "turn_in_progress" && this.id) {
      job.asked.remove();
      this.dispatchEvent(new CustomEvent("returned", { detail: job.text }));
      this.load().catch(() => {});
    } else {
      this.el.append(this.#refusal(job, problem));
    }
    this.#emit("changed");
    this.#emit("drawn");
  }

  async #lostTurn() {
    const { job } = this;
    try {
      if (this.lost === job.turn.id) throw UNDELIVERED; // it was read again already and still cannot be followed
      this.lost = job.turn.id;
      await this.load();
    } catch {
      job.turn.status = "failed";
      job.turn.errorText = "The rest of this answer could not be loaded.";
      job.view.update(job.turn);
      this.job = null;
      this.#emit("changed");
    }
    if (!this.job) this.#emit("ended");
  }

  #refusal(job, problem) {
    const sentence = problem.code === "quota_exceeded" && problem.quota ? quotaSentence(problem.quota) : problem.message;
    const countdown = h("span", { class: "countdown" });
    const retry = iconButton("retry", "Retry", { text: true, "data-testid": "retry", onclick: () => {
      if (this.busy) return;
      box.remove();
      job.asked.remove();
      this.ask(job.text, job.requestId);
    } });
    const box = h("div", { class: "notice failed refusal", role: "alert", "data-testid": "send-error", "data-code": problem.code }, icon("alert"), h("span", { dir: "auto" }, sentence), countdown, retry);
    if (problem.retryAfterMs) countDown(problem.retryAfterMs, retry, countdown);
    return box;
  }

  #emit(type) {
    this.dispatchEvent(new Event(type));
  }
}

/** Keeps `button` off until the wait is over, and says how long that is. */
function countDown(ms, button, label) {
  const end = Date.now() + ms;
  button.disabled = true;
  const tick = () => {
    const left = end - Date.now();
    label.textContent = left > 0 ? `Try again in ${seconds(left)}.` : "";
    if (left > 0) setTimeout(tick, Math.min(left, 1000));
    else button.disabled = false;
  };
  tick();
}

/** A UUID. crypto.randomUUID exists only on secure origins; a LAN address over http is not one. */
function randomId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
