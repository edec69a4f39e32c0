// The cited page, with the quoted passage marked, its neighbours, and the way to the original.

import { announce, complain, fill, h, icon, iconButton, toast } from "./dom.js";
import { pageLabel } from "./format.js";
import { locate, unwrap } from "./highlight.js";

// Only these open in a tab; a blob URL has this page's origin, so anything that could carry a script is downloaded.
const OPENS_IN_TAB = new Map([["application/pdf", "application/pdf"], ["text/plain", "text/plain;charset=utf-8"], ["text/markdown", "text/plain;charset=utf-8"]]);

export class Sources {
  constructor(api) {
    this.api = api;
    this.citation = null;
    this.page = 1;
    this.asked = 0;
    this.name = h("bdi", { class: "source-name" });
    this.place = h("span", { class: "source-place", "aria-live": "polite" });
    this.text = h("div", { class: "source-text", dir: "auto", tabindex: "0", "data-testid": "source-page-text", "aria-label": "Text of the page" });
    this.back = iconButton("left", "Previous page", { "data-testid": "source-previous", onclick: () => this.#go(this.page - 1) });
    this.forth = iconButton("right", "Next page", { "data-testid": "source-next", onclick: () => this.#go(this.page + 1) });
    this.original = iconButton("open", "Open the original", { text: true, "data-testid": "source-original", onclick: () => this.#openOriginal() });
    this.el = h("div", { class: "panel-body source" },
      h("div", { class: "source-head" }, h("span", { class: "chip-index" }), this.name),
      h("div", { class: "source-bar" }, this.back, this.place, this.forth, this.original),
      this.text);
  }

  open(citation) {
    this.citation = citation;
    this.el.querySelector(".chip-index").textContent = `[${citation.index}]`;
    this.name.textContent = citation.file_name;
    return this.#go(citation.page);
  }

  async #go(page) {
    const { citation } = this;
    const asked = (this.asked += 1);
    this.page = page;
    this.place.textContent = `Page ${page}`;
    this.back.disabled = true;
    this.forth.disabled = true;
    this.text.setAttribute("aria-busy", "true");
    try {
      const found = await this.api.get(`/v1/files/${encodeURIComponent(citation.document_id)}/pages/${page}`);
      if (asked !== this.asked) return;
      this.place.textContent = `Page ${page} of ${found.pages}`;
      this.back.disabled = page <= 1;
      this.forth.disabled = page >= found.pages;
      this.#show(unwrap(found.text), page);
    } catch (problem) {
      if (asked !== this.asked) return;
      this.back.disabled = page <= 1;
      fill(this.text, this.#missing(problem));
    }
    this.text.removeAttribute("aria-busy");
  }

  #show(text, page) {
    const { snippet, page: first, page_end: last } = this.citation;
    const cited = page >= first && page <= (last ?? first);
    const found = cited && snippet ? locate(text, snippet) : null;
    if (!found) {
      fill(this.text, text || h("p", { class: "quiet" }, "This page has no text."));
      this.text.scrollTop = 0;
      return;
    }
    const mark = h("mark", { tabindex: "-1" }, text.slice(found[0], found[1]));
    fill(this.text, text.slice(0, found[0]), mark, text.slice(found[1]));
    this.text.scrollTop = Math.max(0, mark.offsetTop - this.text.offsetTop - this.text.clientHeight / 4);
    announce(`${this.citation.file_name}, ${pageLabel(this.citation)}`);
  }

  /** The document may be gone; the passage that was quoted is still in the answer. */
  #missing(problem) {
    const why = problem.status === 404 ? "This document or page is not there any more. This is the passage that was read:" : problem.message;
    return [h("p", { class: "note" }, icon("alert"), why), h("blockquote", { dir: "auto" }, this.citation.snippet ?? "")];
  }

  async #openOriginal() {
    const { citation, page } = this;
    this.original.disabled = true;
    try {
      const response = await this.api.fetch(`/v1/files/${encodeURIComponent(citation.document_id)}/content`);
      const type = (response.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
      const shown = OPENS_IN_TAB.get(type);
      const url = URL.createObjectURL(new Blob([await response.arrayBuffer()], { type: shown ?? "application/octet-stream" }));
      setTimeout(() => URL.revokeObjectURL(url), 10 * 60_000);
      const link = shown
        ? h("a", { href: type === "application/pdf" ? `${url}#page=${page}` : url, target: "_blank", rel: "noopener" })
        : h("a", { href: url, download: citation.file_name });
      link.click();
    } catch (problem) {
      if (problem.status === 404) toast("The original is not there any more.");
      else complain(problem);
    }
    this.original.disabled = false;
  }
}
