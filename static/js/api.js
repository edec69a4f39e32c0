// HTTP with the access token. One refresh at a time, also across tabs: refresh tokens work once.

/** A `problem+json` answer, or a failure to reach the server (`code: "unreachable"`). */
export class Problem extends Error {
  constructor(body) {
    super(body.detail || body.title || "Something went wrong.");
    this.code = body.code ?? "internal";
    this.status = body.status ?? 0;
    this.quota = body.quota ?? null;
    this.field = body.field ?? null;
    this.requestId = body.request_id ?? null;
    this.retryAfterMs = body.retry_after_ms ?? null;
  }

  static async of(response) {
    let body = {};
    try {
      body = await response.json();
    } catch {
      // A proxy's page, not ours: the status says enough.
    }
    const wait = Number(response.headers.get("retry-after"));
    const fallback = response.status === 413 ? "The file is too large." : `The server answered ${response.status}.`;
    return new Problem({ detail: fallback, code: codeOf(response.status), retry_after_ms: wait > 0 ? wait * 1000 : null, ...body, status: response.status });
  }

  static unreachable() {
    return new Problem({ code: "unreachable", detail: "The server cannot be reached. Check your connection and try again." });
  }
}

function codeOf(status) {
  return { 401: "unauthenticated", 403: "forbidden", 404: "not_found", 413: "too_large", 429: "rate_limited", 503: "unavailable" }[status] ?? "internal";
}

export class Api {
  /** @param tokens session.js: keeps `refresh`, told when it is rejected. */
  constructor(tokens) {
    this.tokens = tokens;
    this.access = null;
    this.expiresAt = 0;
    this.refreshing = null;
  }

  accept(grant) {
    this.access = grant.access_token;
    this.expiresAt = Date.now() + grant.expires_in * 1000;
    this.tokens.save(grant);
    return grant;
  }

  forget() {
    this.access = null;
    this.expiresAt = 0;
  }

  /** A token that is good for a while yet. */
  async token() {
    if (this.access && Date.now() < this.expiresAt - 20_000) return this.access;
    await this.refresh();
    return this.access;
  }

  /** Another token than the refused one; somebody else may have fetched it in the meantime. */
  async renew(refused) {
    if (this.access === refused || !this.access) await this.refresh();
    return this.access;
  }

  /** Gets a new access token; callers in the meantime share the one request. */
  refresh() {
    this.refreshing ??= this.#refreshLocked().finally(() => { this.refreshing = null; });
    return this.refreshing;
  }

  #refreshLocked() {
    const work = () => this.#refreshNow();
    return navigator.locks ? navigator.locks.request("docent.refresh", work) : work();
  }

  async #refreshNow() {
    const used = this.tokens.refresh();
    if (!used) return this.#rejected();
    const response = await reach("/v1/auth/refresh", jsonInit("POST", { refresh_token: used }));
    if (response.ok) return this.accept(await response.json());
    const problem = await Problem.of(response);
    if (problem.status !== 401 && problem.status !== 403) throw problem;
    const newer = this.tokens.refresh();
    return newer && newer !== used ? this.#refreshNow() : this.#rejected();
  }

  #rejected() {
    this.forget();
    this.tokens.rejected();
    throw new Problem({ code: "unauthenticated", status: 401, detail: "Please log in again." });
  }

  /** A request with the token, repeated once after a refresh when the token was refused. */
  async fetch(path, init = {}) {
    const attempt = (token) => {
      const headers = new Headers(init.headers);
      headers.set("authorization", `Bearer ${token}`);
      return reach(path, { ...init, headers });
    };
    const token = await this.token();
    let response = await attempt(token);
    if (response.status === 401) response = await attempt(await this.renew(token));
    if (!response.ok) throw await Problem.of(response);
    return response;
  }

  async get(path, signal) {
    return (await this.fetch(path, { signal })).json();
  }

  async send(method, path, body) {
    const response = await this.fetch(path, body === undefined ? { method } : jsonInit(method, body));
    return response.status === 204 ? null : response.json().catch(() => null);
  }

  /** For the routes before log-in. */
  async open(method, path, body, headers = {}) {
    const init = body === undefined ? { method, headers } : jsonInit(method, body, headers);
    const response = await reach(path, init);
    if (!response.ok) throw await Problem.of(response);
    return response.status === 204 ? null : response.json();
  }
}

function jsonInit(method, body, headers = {}) {
  return { method, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
}

async function reach(path, init) {
  try {
    return await fetch(path, { cache: "no-store", credentials: "same-origin", ...init });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Problem.unreachable();
  }
}
