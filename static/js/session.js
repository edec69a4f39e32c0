// Who is logged in. The refresh token is kept in localStorage, the access token only in memory.

import { Api } from "./api.js";

const REFRESH = "docent.refresh";
const TENANT = "docent.tenant";
const EMAIL = "docent.email";

/** localStorage that may be forbidden: then a log-in lasts as long as the page. */
export const store = {
  memory: new Map(),
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return this.memory.get(key) ?? null;
    }
  },
  set(key, value) {
    try {
      if (value === null) localStorage.removeItem(key);
      else localStorage.setItem(key, value);
    } catch {
      this.memory.set(key, value);
    }
  },
};

/** Emits `login` and `logout` (`detail.reason`: "asked" | "expired" | "elsewhere"). */
export class Session extends EventTarget {
  constructor() {
    super();
    this.user = null;
    this.tenant = null;
    this.active = false;
    this.api = new Api({
      refresh: () => store.get(REFRESH),
      save: (grant) => this.#save(grant),
      rejected: () => this.#end("expired"),
    });
    window.addEventListener("storage", (event) => {
      if (event.key === REFRESH && event.newValue === null) this.#end("elsewhere");
    });
  }

  get remembered() {
    return { tenant: store.get(TENANT), email: store.get(EMAIL) };
  }

  /** Logs in with the kept refresh token; false when there is none. */
  async restore() {
    if (!store.get(REFRESH)) return false;
    this.active = true;
    await this.api.refresh();
    this.dispatchEvent(new Event("login"));
    return true;
  }

  requestCode(tenant, email) {
    return this.api.open("POST", "/v1/auth/request-code", { email }, { "x-tenant-id": tenant });
  }

  async verifyCode(tenant, email, code) {
    const grant = await this.api.open("POST", "/v1/auth/verify-code", { email, code }, { "x-tenant-id": tenant });
    store.set(TENANT, tenant);
    store.set(EMAIL, email);
    this.active = true;
    this.api.accept(grant);
    this.dispatchEvent(new Event("login"));
  }

  async logOut() {
    const token = store.get(REFRESH);
    this.#end("asked");
    if (token) await this.api.open("POST", "/v1/auth/logout", { refresh_token: token }).catch(() => {});
  }

  #save(grant) {
    store.set(REFRESH, grant.refresh_token);
    this.user = grant.user ?? this.user;
    this.tenant = grant.tenant ?? this.tenant;
  }

  #end(reason) {
    if (!this.active) return; // a late answer to a request from before the log-out
    this.active = false;
    store.set(REFRESH, null);
    this.api.forget();
    this.user = null;
    this.dispatchEvent(new CustomEvent("logout", { detail: { reason } }));
  }
}
