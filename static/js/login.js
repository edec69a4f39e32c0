// Logging in with a code sent by e-mail: first the address, then the code.

import { fill, h, icon } from "./dom.js";
import { seconds } from "./format.js";

export class Login {
  constructor(session, server, note) {
    this.session = session;
    this.server = server;
    this.note = note;
    this.el = h("main", { class: "login", id: "main", tabindex: "-1" });
    this.#askAddress();
  }

  #card(...children) {
    fill(this.el, h("div", { class: "login-card" },
      h("img", { src: "/static/logo.svg", alt: "", width: "44", height: "44" }),
      ...children),
      h("p", { class: "fine" }, `docent ${this.server?.version ?? ""}`));
  }

  #askAddress(problem) {
    const { remembered } = this.session;
    const dev = this.server?.mode === "dev";
    const tenant = h("input", { id: "tenant", class: "field", required: true, autocomplete: "organization", autocapitalize: "none", spellcheck: "false", "data-testid": "login-tenant", value: remembered.tenant ?? this.server?.default_tenant ?? "" });
    const email = h("input", { id: "email", class: "field", type: "email", required: true, autocomplete: "email", "data-testid": "login-email", value: remembered.email ?? (dev ? this.server.demo_email : "") ?? "" });
    const error = h("p", { class: "form-error", role: "alert" }, problem ?? "");
    const send = h("button", { class: "button primary wide", type: "submit", "data-testid": "login-send" }, "Send me a code");
    const form = h("form", { onsubmit: submit(send, error, async () => {
      const answer = await this.session.requestCode(tenant.value.trim(), email.value.trim());
      this.note = null;
      this.#askCode(tenant.value.trim(), email.value.trim(), answer);
    }) },
      h("label", { for: "tenant" }, "Organisation"), tenant,
      h("label", { for: "email" }, "E-mail"), email,
      error, send);
    this.#card(
      h("h1", null, "Ask your documents"),
      h("p", { class: "quiet" }, "Answers come with the page they were found on. Log in with a code by e-mail; there is no password."),
      this.note ? h("p", { class: "note", role: "status" }, this.note) : null,
      dev ? devMark("This server runs in dev mode: the code is shown here instead of being sent.") : null,
      form);
    queueMicrotask(() => (tenant.value ? (email.value ? send : email) : tenant).focus()); // once it is in the page
  }

  #askCode(tenant, email, answer) {
    const code = h("input", { id: "code", class: "field code-field", inputmode: "numeric", autocomplete: "one-time-code", maxlength: "12", required: true, dir: "ltr", "data-testid": "login-code" });
    const error = h("p", { class: "form-error", role: "alert" });
    const verify = h("button", { class: "button primary wide", type: "submit", "data-testid": "login-verify" }, "Log in");
    const form = h("form", { onsubmit: submit(verify, error, () => this.session.verifyCode(tenant, email, code.value.replace(/\s/g, ""))) },
      h("label", { for: "code" }, "Code"), code, error, verify);
    const offer = answer.dev_code
      ? devMark("Your code would be in an e-mail:", h("button", { type: "button", class: "button", "data-testid": "dev-code-fill", onclick: () => { code.value = answer.dev_code; verify.focus(); } }, `Fill in ${answer.dev_code}`))
      : null;
    this.#card(
      h("h1", null, "Enter your code"),
      h("p", { class: "quiet" }, "If ", h("bdi", null, email), ` is a member, a code is on its way. It is good for ${seconds((answer.expires_in ?? 600) * 1000)}.`),
      offer, form,
      h("button", { type: "button", class: "link-button", onclick: () => this.#askAddress() }, "Use another address or send a new code"));
    code.focus();
  }
}

function devMark(text, ...more) {
  return h("div", { class: "dev-mark" }, h("span", { class: "dev-tag" }, "dev"), h("span", null, text), ...more);
}

/** Runs `work` on submit with the button busy, and shows what went wrong below the fields. */
function submit(button, error, work) {
  return async (event) => {
    event.preventDefault();
    const name = button.textContent;
    button.disabled = true;
    error.textContent = "";
    try {
      await work();
    } catch (problem) {
      const wait = problem.retryAfterMs ? ` Try again in ${seconds(problem.retryAfterMs)}.` : "";
      fill(error, icon("alert"), problem.message + wait);
    } finally {
      button.disabled = false;
      button.textContent = name;
    }
  };
}
