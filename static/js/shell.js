// The window of someone logged in: list on the left, chat in the middle, documents, a source, assistants, usage or keys on the right.

import { Assistants } from "./assistants.js";
import { Chat } from "./chat.js";
import { Conversations } from "./conversations.js";
import { append, fill, h, iconButton } from "./dom.js";
import { Files } from "./files.js";
import { Gauge } from "./gauge.js";
import { KeysView } from "./keys.js";
import { ChatSocket } from "./socket.js";
import { Sources } from "./sources.js";
import { themeToggle } from "./theme.js";
import { UsageView } from "./usage.js";

const NARROW = window.matchMedia("(max-width: 820px)"); // as in app.css
const STARTERS = ["What can you tell me from my documents?", "List the main topics with their pages.", "Compare the two most recent documents."];

export class Shell {
  constructor(session, server) {
    this.session = session;
    const { api } = session;
    this.socket = new ChatSocket(api);
    this.sources = new Sources(api);
    this.files = new Files(api, server);
    this.gauge = new Gauge(api);
    this.usage = new UsageView(api, this.gauge, session.user?.role);
    this.keys = new KeysView(api, session.user?.role);
    this.assistants = new Assistants(api);
    this.conversations = new Conversations(api);
    this.chat = new Chat({ api, socket: this.socket, onCite: (citation) => this.#openSource(citation) });
    this.over = new AbortController();
    this.#build();
    this.#connect();
    this.#keys();
    this.#drops();
  }

  #build() {
    const { user, tenant } = this.session;
    this.keysButton = iconButton("key", "API keys", { "aria-expanded": "false", "aria-controls": "panel", "data-testid": "keys-open", onclick: () => this.#toggleKeys() });
    this.nav = h("aside", { class: "sidebar", id: "sidebar", "aria-label": "Conversations and account" },
      h("div", { class: "brand" }, h("img", { src: "/static/logo.svg", alt: "", width: "26", height: "26" }), h("strong", null, "docent"),
        iconButton("close", "Close the list", { class: "icon-button narrow-only", onclick: () => this.#nav(false) })),
      iconButton("plus", "New chat", { text: true, class: "button wide", "data-testid": "new-chat", onclick: () => this.#newChat() }),
      this.conversations.el,
      ["owner", "admin"].includes(user?.role) ? iconButton("person", "Assistants", { text: true, class: "button wide", "data-testid": "assistants-open", onclick: () => this.#openAssistants() }) : null,
      h("div", { class: "account" },
        h("span", { class: "who" }, h("bdi", null, user?.name || user?.email || "You"), h("small", null, h("bdi", null, tenant?.name ?? ""))),
        this.keysButton,
        themeToggle(),
        iconButton("logout", "Log out", { "data-testid": "logout", onclick: () => this.session.logOut() })));
    this.title = h("h1", { class: "title" }, h("bdi", null, "New chat"));
    this.who = h("span", { class: "with", dir: "auto", hidden: true, "data-testid": "assistant-shown" });
    this.menu = iconButton("menu", "Conversations", { class: "icon-button narrow-only", "aria-expanded": "false", "aria-controls": "sidebar", onclick: () => this.#nav(true) });
    this.filesButton = iconButton("files", "Documents", { text: true, class: "button", "aria-expanded": "false", "aria-controls": "panel", "data-testid": "documents-open", onclick: () => (this.panel.dataset.view === "files" && !this.panel.hidden ? this.#closePanel() : this.#openFiles()) });
    this.panelTitle = h("h2", { tabindex: "-1" });
    this.panelBody = h("div", { class: "panel-holder" });
    this.panel = h("aside", { class: "panel", id: "panel", hidden: true },
      h("header", { class: "panel-head" }, this.panelTitle, iconButton("close", "Close", { "data-testid": "panel-close", onclick: () => this.#closePanel() })),
      this.panelBody);
    this.dropCover = h("div", { class: "drop-cover", hidden: true }, h("div", null, h("strong", null, "Drop to add"), h("span", null, this.files.hint())));
    this.middle = h("div", { class: "middle" }, h("header", { class: "top" }, this.menu, this.title, this.who, this.gauge.el, this.filesButton), this.chat.el);
    this.el = h("div", { class: "shell" },
      this.nav,
      h("div", { class: "scrim", onclick: () => { this.#nav(false); this.#closePanel(); } }),
      this.middle,
      this.panel, this.files.input, this.dropCover);
  }

  #connect() {
    const { chat, conversations } = this;
    chat.suggest = () => this.#suggestions();
    chat.addEventListener("attach", () => this.files.pick());
    chat.addEventListener("shown", () => this.#shown("pushState"));
    chat.addEventListener("created", () => { this.#shown("replaceState"); conversations.refresh(); });
    chat.addEventListener("elsewhere", () => { // one answer is some events: read once
      clearTimeout(this.rereading);
      this.rereading = setTimeout(() => conversations.refresh().then(() => this.#heading()), 250);
    });
    chat.addEventListener("ended", async () => {
      if (this.panel.dataset.view === "usage" && !this.panel.hidden) this.usage.refresh();
      else this.gauge.refresh();
      await conversations.refresh();
      this.#heading();
    });
    conversations.addEventListener("open", (event) => { this.#nav(false); chat.open(event.detail); });
    conversations.addEventListener("renamed", () => this.#heading());
    conversations.addEventListener("deleted", (event) => { chat.forget(event.detail); });
    chat.addEventListener("refused", () => this.gauge.refresh());
    chat.addEventListener("dismissed", () => this.gauge.putAway());
    this.gauge.addEventListener("warning", (event) => chat.warn(event.detail.sentence, event.detail.level));
    this.gauge.addEventListener("open", () => this.#toggleUsage());
    this.assistants.addEventListener("changed", () => this.#loadAssistants());
    this.assistants.addEventListener("try", (event) => {
      if (NARROW.matches) this.#closePanel(); // it would cover the chat
      chat.tryDraft(event.detail);
    });
    this.files.addEventListener("changed", () => chat.refreshWelcome());
    this.files.input.addEventListener("change", () => this.#openFiles());
    NARROW.addEventListener("change", () => this.#cover(), { signal: this.over.signal });
    window.addEventListener("hashchange", () => this.#route(), { signal: this.over.signal });
  }

  async start() {
    this.socket.start();
    this.#route();
    this.conversations.refresh().then(() => this.#heading());
    this.files.load();
    this.gauge.refresh();
    this.#loadAssistants();
  }

  #loadAssistants() {
    return this.session.api.get("/v1/assistants").then((found) => this.chat.setAssistants(found.data)).catch(() => {});
  }

  close() {
    this.over.abort();
    clearTimeout(this.rereading);
    this.socket.stop();
    this.files.close();
  }

  #route() {
    const id = /^#c=([\w-]+)$/.exec(location.hash)?.[1];
    if (id) this.chat.open(id);
    else this.chat.newChat();
  }

  #newChat() {
    this.#nav(false);
    this.chat.newChat();
    this.#loadAssistants(); // others publish, too
  }

  /** The address names the conversation, so that a reload or the back button comes back to it. */
  #shown(change) {
    const { id } = this.chat.thread;
    const hash = id ? `#c=${id}` : "";
    if (location.hash !== hash) history[change](null, "", `${location.pathname}${hash}`);
    this.conversations.select(id);
    this.#heading();
  }

  #heading() {
    const { thread } = this.chat;
    const listed = this.conversations.items.find((one) => one.id === thread?.id);
    const title = listed?.title || thread?.title || (thread?.id ? "Conversation" : "New chat");
    this.title.firstChild.textContent = title;
    const named = thread?.assistantName && (thread.trial || this.chat.assistants.length > 1);
    this.who.hidden = !named || !(thread.id || thread.trial);
    this.who.textContent = thread?.trial ? `Draft: ${thread.assistantName}` : thread?.assistantName ?? "";
    document.title = thread?.id ? `${title} · docent` : "docent";
  }

  #suggestions() {
    const own = this.chat.assistant?.suggestions;
    if (Array.isArray(own) && own.length) return own.slice(0, 4);
    const names = this.files.ready().slice(0, 2).map((file) => file.name);
    return [...names.map((name) => `Summarise ${name} in five points.`), ...STARTERS].slice(0, 3);
  }

  #openSource(citation) {
    this.#openPanel("source", "Source", this.sources.el);
    this.panel.dataset.testid = "sources-panel";
    this.sources.open(citation);
  }

  #openFiles() {
    this.#openPanel("files", "Documents", this.files.el);
    this.panel.dataset.testid = "files-panel";
  }

  #openAssistants() {
    this.#nav(false);
    this.#openPanel("assistants", "Assistants", this.assistants.el);
    this.panel.dataset.testid = "assistants-panel";
    this.assistants.refresh();
  }

  #toggleUsage() {
    if (this.panel.dataset.view === "usage" && !this.panel.hidden) {
      this.#closePanel();
      return;
    }
    this.#openPanel("usage", "Usage", this.usage.el);
    this.panel.dataset.testid = "usage-panel";
    this.usage.refresh();
  }

  #toggleKeys() {
    if (this.panel.dataset.view === "keys" && !this.panel.hidden) {
      this.#closePanel();
      return;
    }
    this.#nav(false);
    this.#openPanel("keys", "API keys", this.keys.el);
    this.panel.dataset.testid = "keys-panel";
    this.keys.refresh();
  }

  #openPanel(view, title, body) {
    if (!this.panel.contains(document.activeElement)) this.opener = document.activeElement;
    this.panel.hidden = false;
    this.panel.dataset.view = view;
    this.panel.setAttribute("aria-label", title);
    this.el.dataset.panel = "open";
    this.panelTitle.textContent = title;
    this.#expanded(view);
    fill(this.panelBody, body);
    this.#cover();
    this.panelTitle.focus({ preventScroll: true });
    this.chat.scroll.follow();
  }

  #closePanel() {
    if (this.panel.hidden) return;
    this.panel.hidden = true;
    delete this.el.dataset.panel;
    this.#cover();
    this.#expanded(null);
    if (this.opener?.isConnected) this.opener.focus({ preventScroll: true });
    else this.chat.composer.input.focus();
  }

  #expanded(view) {
    this.filesButton.setAttribute("aria-expanded", String(view === "files"));
    this.gauge.el.setAttribute("aria-expanded", String(view === "usage"));
    this.keysButton.setAttribute("aria-expanded", String(view === "keys"));
  }

  #nav(open) {
    if (open === (this.el.dataset.nav === "open")) return;
    if (open) this.el.dataset.nav = "open";
    else delete this.el.dataset.nav;
    this.menu.setAttribute("aria-expanded", String(open));
    this.#cover();
    (open ? this.nav.querySelector("button") : this.menu).focus();
  }

  /** On a narrow window a drawer covers the chat: the keyboard must not reach behind it. */
  #cover() {
    this.middle.inert = NARROW.matches && (this.el.dataset.nav === "open" || !this.panel.hidden);
  }

  /** Esc closes what is on top; with nothing on top it stops the answer. */
  #keys() {
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
      if (this.el.dataset.nav === "open") this.#nav(false);
      else if (this.chat.busy && !this.panel.contains(document.activeElement)) this.chat.stop();
      else this.#closePanel();
    }, { signal: this.over.signal });
  }

  #drops() {
    let depth = 0;
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    const on = (type, handle) => window.addEventListener(type, (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      handle(event);
      this.dropCover.hidden = depth <= 0;
    }, { signal: this.over.signal });
    on("dragenter", () => { depth += 1; });
    on("dragleave", () => { depth -= 1; });
    on("dragover", () => {});
    on("drop", (event) => {
      depth = 0;
      this.files.add([...event.dataTransfer.files]);
      this.#openFiles();
    });
  }
}

/** Puts a view in the page. */
export function mount(view) {
  const app = document.getElementById("app");
  app.replaceChildren();
  append(app, [view]);
}
