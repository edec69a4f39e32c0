// The view of API keys: one's own, how to make one, and its secret, which is shown once.

import { announce, complain, confirmDialog, fill, h, iconButton } from "./dom.js";
import { day } from "./format.js";

const SCOPES = {
  chat: "Ask questions, and the OpenAI API",
  files: "Read and upload documents",
  usage: "Your own usage",
  billing: "Everybody’s usage and the bill",
  admin: "Others’ documents and keys",
};
const OF_ROLE = { member: ["chat", "files", "usage"], billing: ["usage", "billing"] };
const LASTS = { 30: "30 days", 90: "90 days", 365: "a year", 0: "until revoked" };

/** What a key of somebody with this role may be for. */
export function scopesOf(role) {
  return OF_ROLE[role] ?? Object.keys(SCOPES);
}

/** When a key ends that is made now; undefined: never. */
export function endsAt(days, now = Date.now()) {
  return days > 0 ? new Date(now + days * 86_400_000).toISOString() : undefined;
}

/** One key in words. */
export function about(key, now = Date.now()) {
  const ended = key.expires_at && Date.parse(key.expires_at) <= now;
  const end = key.expires_at ? `${ended ? "ended" : "ends"} on ${day(key.expires_at)}` : null;
  const used = key.last_used_at ? `last used on ${day(key.last_used_at)}` : "never used";
  const before = key.previous_until ? `the secret before works until ${day(key.previous_until)}` : null;
  return [key.scopes.join(", "), used, end, before].filter(Boolean).join(" · ");
}

export class KeysView {
  constructor(api, role) {
    this.api = api;
    this.name = h("input", { type: "text", class: "field", maxlength: "100", required: true, autocomplete: "off", "data-testid": "key-name" });
    this.scopes = scopesOf(role).map((scope) => h("input", { type: "checkbox", value: scope, checked: scope === "chat", "data-testid": `key-scope-${scope}` }));
    this.lasts = h("select", { class: "picker", "data-testid": "key-lasts" }, Object.entries(LASTS).map(([days, words]) => h("option", { value: days }, words)));
    this.lasts.value = "90";
    this.fresh = h("div", { class: "fresh-key", "data-testid": "key-fresh", role: "status" });
    this.list = h("ul", { class: "keys", "data-testid": "key-list" });
    const form = h("form", { class: "key-form", onsubmit: (event) => { event.preventDefault(); this.#create(); } },
      h("label", null, "What it is for", this.name),
      h("fieldset", null, h("legend", null, "What it may do"), this.scopes.map((box) => h("label", { class: "check" }, box, SCOPES[box.value]))),
      h("label", null, "How long it works", this.lasts),
      h("button", { type: "submit", class: "button", "data-testid": "key-create" }, "Make a key"));
    this.el = h("div", { class: "panel-body", "data-testid": "keys-view" },
      h("p", { class: "quiet" }, "A key lets a program act as you. Its limits and its bill are yours."), this.fresh, form, this.list);
  }

  async refresh() {
    try {
      this.#draw((await this.api.get("/v1/api-keys")).data);
    } catch (problem) {
      fill(this.list, h("li", { class: "quiet" }, problem.message));
    }
  }

  async #create() {
    const scopes = this.scopes.filter((box) => box.checked).map((box) => box.value);
    const wanted = { name: this.name.value, scopes, expires_at: endsAt(Number(this.lasts.value)) };
    await this.#do(async () => {
      this.#show(await this.api.send("POST", "/v1/api-keys", wanted));
      this.name.value = "";
    });
  }

  async #rotate(key) {
    const text = "The key gets another secret. The one it has works for another day, so that programs can change over.";
    if (!(await confirmDialog({ title: `Rotate “${key.name}”?`, text, action: "Rotate" }))) return;
    await this.#do(async () => this.#show(await this.api.send("POST", `/v1/api-keys/${key.id}/rotate`, {})));
  }

  async #revoke(key) {
    const text = "Programs that have it are refused within seconds.";
    if (!(await confirmDialog({ title: `Revoke “${key.name}”?`, text, action: "Revoke" }))) return;
    await this.#do(() => this.api.send("DELETE", `/v1/api-keys/${key.id}`));
  }

  async #do(work) {
    try {
      fill(this.fresh);
      await work();
    } catch (problem) {
      complain(problem);
    }
    await this.refresh();
  }

  /** The secret, this once. */
  #show(made) {
    const secret = h("input", { type: "text", class: "field", readonly: true, value: made.key, "aria-label": "The key", "data-testid": "key-secret", onfocus: () => secret.select() });
    const copy = iconButton("copy", "Copy", { text: true, onclick: async () => { await navigator.clipboard.writeText(made.key).then(() => announce("Copied."), () => secret.select()); } });
    fill(this.fresh, h("p", null, `This is the key “${made.name}”. Keep it now: it is not shown again.`), h("div", { class: "key-secret" }, secret, copy));
    secret.focus();
  }

  #draw(keys) {
    const row = (key) => h("li", { "data-testid": "key-row" },
      h("div", null, h("strong", null, h("bdi", null, key.name)), h("code", null, ` dk_…${key.hint}`), h("small", { class: "quiet" }, about(key))),
      iconButton("retry", `Rotate ${key.name}`, { "data-testid": "key-rotate", onclick: () => this.#rotate(key) }),
      iconButton("trash", `Revoke ${key.name}`, { "data-testid": "key-revoke", onclick: () => this.#revoke(key) }));
    fill(this.list, keys.map(row));
  }
}
