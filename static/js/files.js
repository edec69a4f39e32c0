// The documents panel: uploads, their progress through ingestion, deletion.

import { announce, complain, confirmDialog, fill, h, icon, iconButton, textDialog, toast } from "./dom.js";
import { size, stageSentence, uploadHint } from "./format.js";
import { events } from "./sse.js";
import { upload } from "./upload.js";

const AT_ONCE = 2; // a browser opens six connections per host; uploads and progress streams must not take them all

/** Emits `changed` when a document became ready, failed or went. */
export class Files extends EventTarget {
  constructor(api, server) {
    super();
    this.api = api;
    this.limits = server?.upload ?? null;
    this.rows = [];
    this.cursor = null;
    this.waiting = [];
    this.active = 0;
    this.over = new AbortController();
    this.input = h("input", { type: "file", multiple: true, class: "visually-hidden", tabindex: "-1", "aria-hidden": "true", accept: this.limits?.accept?.join(",") ?? null, "data-testid": "upload-input", onchange: () => this.#picked() });
    this.list = h("ul", { class: "file-list", "aria-label": "Documents" });
    this.more = h("button", { type: "button", class: "link-button", hidden: true, onclick: () => this.load(this.cursor) }, "Show more");
    this.el = h("div", { class: "panel-body" },
      h("button", { type: "button", class: "drop-zone", onclick: () => this.pick() }, icon("clip"), h("strong", null, "Add documents"), h("span", { class: "quiet" }, `Choose files or drop them anywhere. ${this.hint()}`)),
      this.list, this.more);
  }

  hint() {
    return uploadHint(this.limits);
  }

  ready() {
    return this.rows.filter((row) => row.file?.status === "ready").map((row) => row.file);
  }

  pick() {
    this.input.click();
  }

  close() {
    this.over.abort();
  }

  async load(cursor = null) {
    try {
      const page = await this.api.get(`/v1/files?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      this.cursor = page.next_cursor;
      for (const file of page.data) if (!this.#known(file.id)) this.#watch(this.#row({ file }, false));
      this.more.hidden = !this.cursor;
      this.#empty();
      this.dispatchEvent(new Event("changed"));
    } catch (problem) {
      fill(this.list, h("li", { class: "quiet pad" }, problem.message));
    }
  }

  #known(id) {
    return this.rows.find((row) => row.file?.id === id);
  }

  #picked() {
    this.add([...this.input.files]);
    this.input.value = "";
  }

  add(blobs) {
    for (const blob of blobs) {
      const row = this.#row({ blob, sent: 0, abort: new AbortController() }, true);
      const tooBig = this.limits?.max_bytes && blob.size > this.limits.max_bytes;
      if (tooBig || blob.size === 0) {
        row.problem = tooBig ? `Larger than ${size(this.limits.max_bytes)}.` : "This file is empty.";
        this.#draw(row);
      } else this.#queue(() => this.#send(row));
    }
    this.#empty();
  }

  #queue(work) {
    this.waiting.push(work);
    this.#next();
  }

  async #next() {
    if (this.active >= AT_ONCE || !this.waiting.length) return;
    this.active += 1;
    try {
      await this.waiting.shift()();
    } finally {
      this.active -= 1;
      this.#next();
    }
  }

  async #send(row) {
    if (row.abort.signal.aborted) return;
    try {
      const { file, existed } = await upload(this.api, row.blob, (sent) => { row.sent = sent; this.#draw(row); }, row.abort.signal);
      const twin = this.#known(file.id);
      if (twin) this.#remove(row);
      if (existed) toast(`“${file.name}” was already there.`);
      const kept = twin ?? row;
      kept.file = file;
      this.#draw(kept);
      this.#watch(kept);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      row.problem = problem.message;
      this.#draw(row);
    }
  }

  #watch(row) {
    if (row.watched || settled(row.file)) {
      this.dispatchEvent(new Event("changed"));
      return;
    }
    row.watched = true;
    this.#queue(() => this.#follow(row));
  }

  /** Follows the stages; when the stream breaks, asks again after a while. */
  async #follow(row) {
    const path = `/v1/files/${encodeURIComponent(row.file.id)}`;
    for (let tries = 0; tries < 40 && this.rows.includes(row) && !settled(row.file) && !this.over.signal.aborted; tries += 1) {
      try {
        const response = await this.api.fetch(`${path}/events`, { headers: { accept: "text/event-stream" }, signal: this.over.signal });
        for await (const { event, data } of events(response)) {
          if (event !== "progress" && event !== "done") continue;
          this.#update(row, JSON.parse(data));
          tries = 0;
        }
        if (!settled(row.file)) this.#update(row, await this.api.get(path, this.over.signal));
      } catch (problem) {
        if (problem.name === "AbortError") return;
        if (problem.status === 404) return this.#remove(row);
      }
      if (!settled(row.file)) await new Promise((resolve) => setTimeout(resolve, 1000 + 1000 * Math.min(tries, 9)));
    }
    row.watched = false;
  }

  #update(row, file) {
    row.file = file;
    this.#draw(row);
    if (!settled(file)) return;
    announce(`${file.name}: ${describe(row).text}`);
    this.dispatchEvent(new Event("changed"));
  }

  #row(row, first) {
    row.icon = h("span", { class: "file-icon" });
    row.name = h("bdi", { class: "file-name" });
    row.state = h("span", { class: "file-state" });
    row.bar = h("progress", { max: "1" });
    row.button = h("button", { type: "button", class: "icon-button", "data-testid": "file-delete", onclick: () => this.#delete(row) });
    row.folder = iconButton("folder", "Collection", { "data-testid": "file-collection", onclick: () => this.#fileUnder(row) });
    row.el = h("li", { class: "file", "data-testid": "file-row" }, row.icon, h("div", { class: "file-text" }, row.name, row.state, row.bar), row.folder, row.button);
    if (first) this.rows.unshift(row);
    else this.rows.push(row);
    this.list[first ? "prepend" : "append"](row.el);
    this.#draw(row);
    return row;
  }

  #empty() {
    this.list.querySelector(".pad")?.remove();
    if (!this.rows.length) this.list.append(h("li", { class: "quiet pad" }, "No documents yet. Add one, then ask about it."));
  }

  /** Changes a row in place, so that its button keeps the focus. */
  #draw(row) {
    const name = nameOf(row);
    const view = describe(row);
    if (row.el.dataset.status !== view.status) {
      row.el.dataset.status = view.status;
      fill(row.icon, icon(view.status === "failed" ? "alert" : "files"));
      fill(row.button, icon(row.file || row.problem ? "trash" : "close"));
      const verb = row.file ? "Delete" : row.problem ? "Remove" : "Cancel";
      row.button.setAttribute("aria-label", `${verb} ${name}`);
      row.button.title = verb;
    }
    row.name.textContent = name;
    row.name.title = name;
    row.state.textContent = view.text;
    row.folder.hidden = !row.file;
    row.bar.hidden = view.progress === null;
    row.bar.value = view.progress ?? 0;
    row.bar.setAttribute("aria-label", `${name}: ${view.text}`);
  }

  async #fileUnder(row) {
    const known = await this.api.get("/v1/collections").catch(() => ({ data: [] }));
    const name = await textDialog({ title: `Put “${nameOf(row)}” into a collection`, label: "Name, or nothing for none", value: row.file.collection ?? "", options: known.data.map((one) => one.name), action: "Save" });
    if (name === null) return;
    try {
      row.file = await this.api.send("PATCH", `/v1/files/${encodeURIComponent(row.file.id)}`, { collection: name || null });
      this.#draw(row);
    } catch (problem) {
      complain(problem);
    }
  }

  async #delete(row) {
    const name = nameOf(row);
    if (!row.file) {
      row.abort.abort();
      return this.#remove(row);
    }
    const sure = await confirmDialog({ title: "Delete this document?", text: `Answers will no longer draw on “${name}”.`, action: "Delete" });
    if (!sure) return;
    try {
      await this.api.send("DELETE", `/v1/files/${encodeURIComponent(row.file.id)}`);
      this.#remove(row);
    } catch (problem) {
      if (problem.status === 404) this.#remove(row);
      else complain(problem);
    }
  }

  #remove(row) {
    this.rows = this.rows.filter((other) => other !== row);
    row.el.remove();
    this.#empty();
    this.dispatchEvent(new Event("changed"));
  }
}

function nameOf(row) {
  return row.file?.name ?? row.blob.name;
}

function settled(file) {
  return file.status === "ready" || file.status === "failed";
}

/** What a row says: `{status, text, progress}`. */
function describe({ file, blob, sent, problem }) {
  if (problem) return { status: "failed", text: problem, progress: null };
  if (!file) {
    const text = sent > 0 ? `Uploading, ${Math.round(sent * 100)} % of ${size(blob.size)}` : "Waiting to upload";
    return { status: "uploading", text, progress: sent };
  }
  if (file.status === "failed") return { status: "failed", text: file.error?.message ?? "This document could not be read.", progress: null };
  if (file.status === "ready") {
    const pages = file.pages ? `${file.pages} ${file.pages === 1 ? "page" : "pages"} · ` : "";
    return { status: "ready", text: `${pages}${size(file.bytes)}${file.collection ? ` · ${file.collection}` : ""}`, progress: null };
  }
  return { status: file.status, text: `${stageSentence(file.stage)}…`, progress: file.progress ?? 0 };
}
