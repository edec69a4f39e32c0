// The list on the left: open, rename, delete, load more; newest first.

import { complain, confirmDialog, fill, h, iconButton } from "./dom.js";
import { when } from "./format.js";

/** Emits `open`, `renamed` and `deleted` (`detail`: id). */
export class Conversations extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.items = [];
    this.cursor = null;
    this.current = null;
    this.list = h("ul", { class: "conversation-list", "aria-label": "Conversations" });
    this.more = h("button", { type: "button", class: "link-button", hidden: true, onclick: () => this.#loadMore() }, "Show older");
    this.el = h("nav", { class: "conversations", "aria-label": "Conversations" }, this.list, this.more);
  }

  /** Reads the first page again; what was loaded further down stays. */
  async refresh() {
    try {
      const page = await this.api.get("/v1/conversations?limit=30");
      const fresh = new Set(page.data.map((one) => one.id));
      const last = page.data[page.data.length - 1];
      const older = page.next_cursor && last ? this.items.filter((one) => !fresh.has(one.id) && one.updated_at < last.updated_at) : [];
      if (!older.length) this.cursor = page.next_cursor;
      this.items = [...page.data, ...older];
      this.#draw();
    } catch (problem) {
      if (!this.items.length) fill(this.list, h("li", { class: "quiet pad" }, problem.message));
    }
  }

  async #loadMore() {
    this.more.disabled = true;
    try {
      const page = await this.api.get(`/v1/conversations?limit=30&cursor=${encodeURIComponent(this.cursor)}`);
      const known = new Set(this.items.map((one) => one.id));
      this.items.push(...page.data.filter((one) => !known.has(one.id)));
      this.cursor = page.next_cursor;
      this.#draw();
    } catch (problem) {
      complain(problem);
    }
    this.more.disabled = false;
  }

  select(id) {
    this.current = id;
    for (const item of this.list.children) {
      const open = item.dataset.id === id;
      item.classList.toggle("current", open);
      item.querySelector(".conversation-open")?.setAttribute("aria-current", open ? "page" : "false");
    }
  }

  #draw() {
    if (this.list.querySelector("form")) return;
    fill(this.list, this.items.length ? this.items.map((one) => this.#item(one)) : h("li", { class: "quiet pad" }, "No conversations yet."));
    this.more.hidden = !this.cursor;
    this.select(this.current);
  }

  #item(one) {
    const title = one.title || "New conversation";
    return h("li", { class: "conversation", "data-testid": "conversation-item", "data-id": one.id },
      h("button", { type: "button", class: "conversation-open", onclick: () => this.#emit("open", one.id) },
        h("bdi", { class: "conversation-title" }, title),
        one.running_turn_id ? h("span", { class: "running", title: "Answer running" }) : h("time", { datetime: one.updated_at }, when(one.updated_at))),
      h("span", { class: "conversation-tools" },
        iconButton("edit", `Rename “${title}”`, { "data-testid": "conversation-rename", onclick: (event) => this.#rename(event, one) }),
        iconButton("trash", `Delete “${title}”`, { "data-testid": "conversation-delete", onclick: () => this.#delete(one, title) })));
  }

  #rename(event, one) {
    const item = event.currentTarget.closest("li");
    const input = h("input", { class: "field", value: one.title ?? "", maxlength: "200", "aria-label": "Title", dir: "auto", "data-testid": "conversation-title-input" });
    let over = false;
    const close = async (keep) => {
      if (over) return;
      over = true;
      const title = input.value.trim();
      if (keep && title && title !== one.title) {
        try {
          Object.assign(one, await this.api.send("PATCH", `/v1/conversations/${encodeURIComponent(one.id)}`, { title }));
          this.#emit("renamed", one.id);
        } catch (problem) {
          complain(problem);
        }
      }
      fill(this.list);
      this.#draw();
    };
    fill(item, h("form", { onsubmit: (submit) => { submit.preventDefault(); close(true); } }, input));
    input.addEventListener("blur", () => close(true));
    input.addEventListener("keydown", (key) => {
      if (key.key !== "Escape") return;
      key.stopPropagation();
      close(false);
    });
    input.focus();
    input.select();
  }

  async #delete(one, title) {
    const sure = await confirmDialog({ title: "Delete this conversation?", text: `“${title}” and its answers will be gone for good.`, action: "Delete" });
    if (!sure) return;
    try {
      await this.api.send("DELETE", `/v1/conversations/${encodeURIComponent(one.id)}`);
      this.items = this.items.filter((other) => other.id !== one.id);
      this.#draw();
      this.#emit("deleted", one.id);
    } catch (problem) {
      complain(problem);
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
