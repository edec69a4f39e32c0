// The WebSocket: a ticket in the subprotocol, a watchdog, and reconnecting with jittered back-off.
// It knows nothing of turns: whoever has one listens for `ready` and attaches again.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 15_000;
const READY_DEADLINE_MS = 12_000;
const PONG_DEADLINE_MS = 8_000;

/** Emits `ready`, `down` (a connection was lost or failed), `refused` (no more attempts) and `frame` (`detail`). */
export class ChatSocket extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.wanted = false;
    this.ready = false;
    this.ws = null;
    this.attempt = 0;
    this.badTickets = 0;
    this.heartbeatMs = 25_000;
    this.timers = { retry: 0, deadline: 0, ping: 0 };
    window.addEventListener("online", () => this.nudge());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.nudge(); });
  }

  start() {
    if (this.wanted) return;
    this.wanted = true;
    this.attempt = 0;
    this.#connect();
  }

  stop() {
    this.wanted = false;
    this.#drop();
  }

  /** False when there is no connection: the caller sends again on `ready`. */
  send(frame) {
    if (!this.ready) {
      if (this.wanted) this.nudge();
      return false;
    }
    this.ws.send(JSON.stringify(frame));
    return true;
  }

  /** Something suggests that the network changed: check now instead of at the next beat. */
  nudge() {
    if (!this.wanted) return;
    if (this.ready) this.#ping();
    else if (!this.ws && this.timers.retry) this.#connect();
  }

  async #connect() {
    clearTimeout(this.timers.retry);
    this.timers.retry = 0;
    const marker = (this.connecting = Symbol("attempt"));
    let ticket;
    try {
      ({ ticket } = await this.api.send("POST", "/v1/ws-tickets"));
    } catch (problem) {
      if (marker !== this.connecting || !this.wanted) return;
      if (problem.status === 401 || problem.status === 403) return this.#refuse();
      return this.#later(problem.retryAfterMs);
    }
    if (marker !== this.connecting || !this.wanted) return;
    const url = new URL("/ws/chat", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const ws = new WebSocket(url, ["docent.v1", `ticket.${ticket}`]);
    this.ws = ws;
    this.timers.deadline = setTimeout(() => this.#lost(ws, 0), READY_DEADLINE_MS);
    ws.addEventListener("message", (event) => { if (ws === this.ws) this.#frame(event.data); });
    ws.addEventListener("close", (event) => this.#lost(ws, event.code, event.reason));
  }

  #frame(text) {
    clearTimeout(this.timers.deadline);
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.type === "ready") {
      this.ready = true;
      this.badTickets = 0;
      this.readyAt = Date.now();
      this.heartbeatMs = Math.max(1_000, frame.heartbeat_ms ?? 25_000);
      this.#beat();
      this.dispatchEvent(new Event("ready"));
    } else if (frame.type !== "pong") {
      this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
    }
  }

  #beat() {
    clearInterval(this.timers.ping);
    this.timers.ping = setInterval(() => this.#ping(), this.heartbeatMs);
  }

  /** Any frame is an answer; none within the deadline means a dead connection that nobody closed. */
  #ping() {
    const { ws } = this;
    clearTimeout(this.timers.deadline);
    this.timers.deadline = setTimeout(() => this.#lost(ws, 0), PONG_DEADLINE_MS);
    ws.send('{"type":"ping"}');
  }

  #lost(ws, code, reason = "") {
    if (ws !== this.ws) return;
    const steady = this.ready && Date.now() - this.readyAt > 5_000;
    this.#drop();
    if (steady) this.attempt = 0;
    this.dispatchEvent(new Event("down"));
    if (!this.wanted) return;
    if (code === 4403 || (code === 4401 && this.badTickets >= 3)) return this.#refuse();
    if (code === 4401) {
      this.badTickets += 1;
      this.api.expiresAt = 0; // perhaps the token behind the ticket is the stale one
    }
    this.#later(/"reconnect_in_ms":(\d{1,5})\b/.exec(reason)?.[1]);
  }

  #later(atLeastMs) {
    const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.attempt);
    this.attempt += 1;
    const wait = Math.max(atLeastMs ?? 0, ceiling / 2 + Math.random() * (ceiling / 2));
    this.timers.retry = setTimeout(() => this.#connect(), wait);
    this.dispatchEvent(new Event("down"));
  }

  #refuse() {
    this.wanted = false;
    this.#drop();
    this.dispatchEvent(new Event("refused"));
  }

  #drop() {
    clearTimeout(this.timers.retry);
    clearTimeout(this.timers.deadline);
    clearInterval(this.timers.ping);
    this.timers.retry = 0;
    this.connecting = null;
    const { ws } = this;
    this.ws = null;
    this.ready = false;
    if (ws && ws.readyState <= WebSocket.OPEN) ws.close(1000);
  }
}
