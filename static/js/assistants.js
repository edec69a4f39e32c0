// The assistants panel, for owners and admins: write one, try it beside the editor, publish it, take it back.

import { AssistantForm } from "./assistant-form.js";
import { announce, complain, confirmDialog, fill, h, icon, iconButton, toast } from "./dom.js";
import { when } from "./format.js";

const BLANK = { slug: "", revision: null, version: null, changed: true, archived_at: null, draft: {} };

/** What a row says of an assistant. */
export function standing({ version, changed, archived_at: archived }) {
  if (archived) return "Archived";
  if (version === null) return "Draft, not published";
  return changed ? `Version ${version}, with unpublished changes` : `Version ${version}`;
}

/** Emits `try` (`detail`: the assistant) and `changed` (what everybody sees is another). */
export class Assistants extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.items = [];
    this.open = null;
    this.form = new AssistantForm(() => this.#dirty(true));
    this.list = h("ul", { class: "file-list", "aria-label": "Assistants" });
    this.el = h("div", { class: "panel-body assistants" });
    this.#build();
  }

  #build() {
    const button = (testid, text, onclick, more = "") => h("button", { type: "button", class: `button ${more}`, "data-testid": testid, onclick }, text);
    this.overview = [
      iconButton("plus", "New assistant", { text: true, class: "button", "data-testid": "assistant-new", onclick: () => this.#show({ ...BLANK }) }), this.list];
    this.standing = h("p", { class: "quiet", "data-testid": "assistant-standing" });
    this.stale = h("div", { class: "notice failed", role: "alert", hidden: true }, icon("alert"),
      h("span", null, "Somebody changed this assistant in the meantime. What you wrote is not saved."),
      button("assistant-reload", "Read theirs", () => this.#reload()));
    this.save = button("assistant-save", "Save draft", () => this.#save());
    this.note = h("input", { class: "field", maxlength: "500", placeholder: "What is new? (optional)", "aria-label": "What is new", dir: "auto", "data-testid": "assistant-note" });
    this.remove = button("assistant-remove", "Archive or delete", () => this.#remove(), "danger");
    this.versions = h("ol", { class: "versions", "data-testid": "assistant-versions" });
    this.history = h("details", { class: "as-table", ontoggle: () => this.history.open && this.#loadVersions() }, h("summary", null, "Versions"), this.versions);
    this.editor = [
      h("button", { type: "button", class: "link-button", "data-testid": "assistant-back", onclick: () => this.#leave() }, icon("left"), "All assistants"),
      this.standing, this.stale, this.form.el,
      h("div", { class: "form-actions" }, this.save, button("assistant-try", "Save and try", () => this.#try()), this.note,
        button("assistant-publish", "Publish", () => this.#publish(), "primary")),
      this.history, this.remove];
  }

  async refresh() {
    if (this.open) return; // what is being written stays
    fill(this.el, this.overview);
    try {
      this.items = (await this.api.get("/v1/assistants?drafts=true")).data;
      fill(this.list, this.items.map((one) => this.#row(one)));
    } catch (problem) {
      fill(this.list, h("li", { class: "quiet pad" }, problem.message));
    }
  }

  #row(one) {
    return h("li", null, h("button", { type: "button", class: "assistant-row", "data-testid": "assistant-row", onclick: () => this.#show(one) },
      h("bdi", { class: "file-name" }, one.draft.name), h("span", { class: "file-state" }, standing(one))));
  }

  #show(one) {
    this.open = one;
    this.stale.hidden = true;
    this.history.open = false;
    this.note.value = "";
    this.form.show({ ...one.draft, slug: one.slug });
    fill(this.el, this.editor);
    this.el.scrollTop = 0;
    this.#dirty(!one.id);
    this.api.get("/v1/collections").then((found) => this.form.offer(found.data.map((each) => each.name))).catch(() => {});
    this.form.boxes.get("name").focus();
  }

  #dirty(dirty) {
    this.dirty = dirty;
    this.save.disabled = !dirty;
    this.standing.textContent = this.open?.id ? `${standing(this.open)}${dirty ? " · not saved" : ""}` : "New";
    this.history.hidden = this.remove.hidden = !this.open?.id;
  }

  async #leave() {
    if (this.dirty && this.open.id) {
      const sure = await confirmDialog({ title: "Leave without saving?", text: "What you changed is not saved.", action: "Leave" });
      if (!sure) return;
    }
    this.open = null;
    await this.refresh();
  }

  #path(end = "") {
    return `/v1/assistants/${encodeURIComponent(this.open.id)}${end}`;
  }

  /** Changes the open assistant, if nobody else did meanwhile. False: it did not work, and why is said. */
  async #change(method, path, body) {
    try {
      const init = { method, headers: { "content-type": "application/json" } };
      if (body) init.body = JSON.stringify(body);
      if (this.open.id) init.headers["if-match"] = `"${this.open.revision}"`;
      const response = await this.api.fetch(path, init);
      if (response.status !== 204) this.open = await response.json();
      this.stale.hidden = true;
      return true;
    } catch (problem) {
      if (problem.status === 412) this.stale.hidden = false;
      else if (!this.form.complain(problem)) complain(problem);
      return false;
    }
  }

  async #save() {
    if (this.dirty) {
      const { id } = this.open;
      if (!(await this.#change(id ? "PATCH" : "POST", id ? this.#path() : "/v1/assistants", this.form.values()))) return false;
      this.form.show({ ...this.open.draft, slug: this.open.slug });
      announce("Saved.");
    }
    this.#dirty(false);
    return true;
  }

  async #try() {
    if (await this.#save()) this.dispatchEvent(new CustomEvent("try", { detail: this.open }));
  }

  async #publish() {
    if (!(await this.#save()) || !(await this.#change("POST", this.#path("/publish"), { note: this.note.value }))) return;
    this.#published();
  }

  async #rollBack(version) {
    if (!(await this.#change("POST", this.#path("/rollback"), { version, note: `As version ${version}` }))) return;
    if (!this.dirty) this.form.show({ ...this.open.draft, slug: this.open.slug });
    this.#published();
  }

  #published() {
    this.note.value = "";
    this.#dirty(this.dirty);
    if (this.history.open) this.#loadVersions();
    toast(`“${this.open.draft.name}” is published as version ${this.open.version}.`);
    this.dispatchEvent(new Event("changed"));
  }

  async #reload() {
    try {
      this.#show(await this.api.get(this.#path()));
    } catch (problem) {
      complain(problem);
    }
  }

  async #remove() {
    const sure = await confirmDialog({ title: "Take this assistant away?", text: "Conversations with it go on, new ones do not begin. One that was never asked is deleted.", action: "Take away" });
    if (!sure || !(await this.#change("DELETE", this.#path()))) return;
    this.open = null;
    this.dispatchEvent(new Event("changed"));
    await this.refresh();
  }

  async #loadVersions() {
    const { id, version } = this.open;
    try {
      const { data } = await this.api.get(this.#path("/versions"));
      if (this.open?.id === id) fill(this.versions, data.map((one) => this.#version(one, one.version === version)));
    } catch (problem) {
      complain(problem);
    }
  }

  #version(one, current) {
    return h("li", null, h("div", { class: "file-text" },
      h("strong", null, `Version ${one.version}`, current ? " · published" : ""),
      one.note ? h("span", { dir: "auto" }, one.note) : null,
      h("span", { class: "file-state" }, `${one.email ?? "With the tenant"}, `, h("time", { datetime: one.created_at }, when(one.created_at)))),
    current ? null : h("button", { type: "button", class: "button", "aria-label": `Publish version ${one.version} again`, "data-testid": "assistant-rollback", onclick: () => this.#rollBack(one.version) }, "Roll back"));
  }
}
