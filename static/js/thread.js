// One conversation on the screen: one branch of its messages, and the one question that may be running.
// A thread lives on while its turn runs, even when another conversation is shown.

import { Problem } from "./api.js";
import { idsOf, onBranch, placesOf } from "./branch.js";
import { announce, complain, fill, h } from "./dom.js";
import { AnswerView, QuestionView } from "./message.js";
import { isForLater, refusal } from "./refusal.js";
import { Applied, applyPart, newTurn, turnOfMessage } from "./turn.js";

const MOST_TRIES = 4;
const UNDELIVERED = new Problem({ code: "unreachable", detail: "The question could not be delivered: the connection broke each time. It may be too long." });

/**
 * Emits `changed` (busy or id), `asked`, `drawn` (may scroll), `ended` (a turn is over), `returned` (`detail`: a
 * text to edit again, or null, and the problem).
 */
export class Thread extends EventTarget {
  constructor({ api, socket, onCite, id = null, assistant = null, draft = null }) {
    super();
    this.api = api;
    this.socket = socket;
    this.onCite = onCite;
    this.id = id;
    this.assistant = assistant;
    this.assistantName = draft?.draft.name ?? null;
    this.draft = draft; // what is tried in it
    this.trial = draft !== null;
    this.title = null;
    this.job = null;
    this.shown = [];
    this.lost = null;
    this.el = h("div", { class: "thread" });
  }

  get busy() {
    return this.job !== null;
  }

  get empty() {
    return this.id === null && !this.el.hasChildNodes();
  }

  /** Loads the branch, and follows the turn that is running. */
  async load() {
    const [conversation, list] = await Promise.all([this.api.get(this.#path()), this.api.get(this.#path("/messages"))]);
    this.title = conversation.title;
    this.assistant = conversation.assistant_id;
    this.assistantName = conversation.assistant_name;
    this.trial = conversation.trial;
    this.job = null;
    this.#show(list);
  }

  #path(end = "") {
    return `/v1/conversations/${encodeURIComponent(this.id)}${end}`;
  }

  /** Draws a branch. A turn that runs on another one is followed as well. */
  #show(list) {
    const { data, running } = list;
    this.shown = data.map((message) => this.#past(message));
    if (running && this.job?.turn?.id !== running.turn_id) {
      this.job = { requestId: null, wish: {}, turn: newTurn(running.turn_id), view: this.#answer(), stopWanted: false };
      this.#attach();
    }
    if (running) this.job.view.place({ id: running.message_id, siblings: running.siblings });
    if (onBranch(list)) this.shown.push(this.job.view);
    fill(this.el, this.shown.map((view) => view.el));
    this.#changed();
    this.#emit("drawn");
  }

  #past(message) {
    const view = message.role === "user" ? this.#question(message.text) : this.#answer();
    view.place(message);
    if (message.role !== "user") view.update(turnOfMessage(message));
    return view;
  }

  #question(text) {
    return new QuestionView({ text, onEdit: (id, edited) => this.edit(id, edited), onTurn: (id, step) => this.turnTo(id, step) });
  }

  #answer() {
    return new AnswerView({
      onCite: this.onCite,
      onDecide: (turn, approval, yes) => this.decide(turn, approval, yes),
      onRegenerate: (id) => this.regenerate(id),
      onTurn: (id, step) => this.turnTo(id, step),
      onDrawn: () => this.#emit("drawn"),
    });
  }

  ask(text) {
    this.#begin({ text });
  }

  /** Asks in place of a question; the old one stays beside it. */
  edit(id, text) {
    this.#begin({ text, edit_of: id });
  }

  /** Asks for another answer; the old one stays beside it. */
  regenerate(id) {
    this.#begin({ regenerate: id });
  }

  /** Says yes or no to a call. The turn that goes on from there is announced, as those of other tabs are. */
  async decide(turn, approval, approved) {
    if (this.busy) return;
    const path = `/v1/turns/${encodeURIComponent(turn)}/approvals/${encodeURIComponent(approval.approval_id)}`;
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ approved }) };
    try {
      const response = await this.api.fetch(path, init);
      await response.body?.cancel();
    } catch (problem) {
      complain(problem);
    }
  }

  /** Shows another version of a message, with what follows it. */
  async turnTo(id, step) {
    if (this.#unheard) return;
    this.turning = true;
    try {
      const list = await this.api.send("PUT", this.#path("/branch"), { message_id: id });
      if (!this.#unheard) this.#show(list);
    } catch (problem) {
      complain(problem);
    }
    this.turning = false;
    this.shown.find((view) => view.id === id)?.focusStep(step);
  }

  /** Somebody turned to the branch that ends with this message; perhaps this tab did. */
  async turned(leaf) {
    const known = () => this.turning || this.#unheard || this.shown.some((view) => view.id === leaf);
    if (known()) return;
    const list = await this.api.get(this.#path("/messages")).catch(() => null);
    if (list && !known()) this.#show(list);
  }

  /** The server has not said yet where a question went. */
  get #unheard() {
    return this.busy && !this.job.turn;
  }

  /** Asks. With the `key` of a question that was not answered, the server takes both for one. */
  #begin(wish, key = randomId()) {
    if (this.busy) return;
    if (this.id === null) this.title = wish.text;
    this.#cut(wish.edit_of ?? wish.regenerate);
    const asked = wish.text ? this.#question(wish.text) : null;
    const view = this.#answer();
    for (const one of [asked, view]) {
      if (one === null) continue;
      this.shown.push(one);
      this.el.append(one.el);
    }
    this.job = { requestId: key, wish, asked, turn: null, view, stopWanted: false, tries: 0 };
    if (!this.#sendQuestion()) {
      if (this.socket.wanted) view.waiting("Connecting…");
      else this.refused();
    }
    announce("Question sent.");
    this.#changed();
    this.#emit("asked");
  }

  /** Takes a message and what follows it off the screen. */
  #cut(id) {
    const at = this.shown.findIndex((view) => view.id === id);
    if (!id || at < 0) return;
    const { el } = this.shown[at];
    while (this.el.lastChild !== el) this.el.lastChild.remove();
    el.remove();
    this.shown.length = at;
  }

  /** The idempotency key makes this safe to repeat when the answer to it was lost. */
  #sendQuestion() {
    const { requestId, wish } = this.job;
    const frame = { type: "send", request_id: requestId, idempotency_key: requestId, ...wish };
    if (this.id) frame.conversation_id = this.id;
    else if (this.assistant) Object.assign(frame, { assistant: this.assistant, draft: this.trial });
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
    this.#changed();
    this.#locate(job);
  }

  /** Learns where in the tree the question and its answer are. Another tab may have turned to another branch meanwhile. */
  async #locate(job) {
    const list = await this.api.get(this.#path("/messages")).catch(() => null);
    const places = list && placesOf(list, job.turn.id);
    if (!places) return;
    job.asked?.place(places.question);
    job.view.place(places.answer);
    const ids = this.shown.map((view) => view.id).filter(Boolean);
    const last = this.shown[this.shown.length - 1] === job.view; // else the list may be older than what is shown
    if (last && ids.join() !== idsOf(list).join()) this.#show(list);
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
    this.#changed();
    this.#emit("ended");
    if (!job.view.placed) this.#locate(job);
    if (applied === Applied.Rewound || job.turn.status === "failed") this.#correct(job);
  }

  /** Shows what was stored: a server that crashed may have lost the last words that were sent. */
  async #correct({ turn, view }) {
    try {
      const { data } = await this.api.get(this.#path("/messages"));
      const stored = data.find((one) => one.role === "assistant" && one.turn_id === turn.id);
      if (stored) view.replace({ ...turnOfMessage(stored), errorText: turn.errorText });
    } catch {
      // What was seen stays: it is more than nothing.
    }
  }

  /** The question was not taken, or the turn cannot be followed any more. */
  async #refusedQuestion(problem) {
    const { job } = this;
    if (job.turn) {
      this.#lostTurn();
      return;
    }
    const { wish, asked, view } = job;
    this.job = null;
    this.shown = this.shown.filter((one) => one !== asked && one !== view);
    view.el.remove();
    const running = problem.code === "turn_in_progress" && this.id;
    const returned = running || (isForLater(problem) && !wish.edit_of && !wish.regenerate);
    if (returned) {
      asked?.el.remove();
      if (this.id === null) this.title = null;
      this.dispatchEvent(new CustomEvent("returned", { detail: { text: wish.text ?? null, problem } }));
    }
    if (running || wish.edit_of || wish.regenerate) await this.load().catch(() => {}); // brings back what was taken off
    if (!returned) this.#refuse(job, problem);
    this.#changed();
    this.#emit("drawn");
  }

  #refuse({ wish, asked, requestId }, problem) {
    const box = refusal(problem, () => {
      if (this.busy) return;
      box.remove();
      asked?.el.remove();
      this.#begin(wish, requestId);
    });
    if (asked) this.el.append(asked.el);
    this.el.append(box);
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
      this.#changed();
    }
    if (!this.job) this.#emit("ended");
  }

  #changed() {
    this.el.toggleAttribute("data-busy", this.busy);
    this.#emit("changed");
  }

  #emit(type) {
    this.dispatchEvent(new Event(type));
  }
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
