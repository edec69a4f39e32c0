// Starts the page: logged in already, or not, or the server is away.

import { h } from "./dom.js";
import { Login } from "./login.js";
import { Session } from "./session.js";
import { mount, Shell } from "./shell.js";

const REASONS = {
  asked: null,
  expired: "You were away for a while, so you have been logged out. Log in again to go on; nothing is lost.",
  elsewhere: "You logged out in another tab.",
};

const session = new Session();
let server = null;
let shell = null;

session.addEventListener("login", () => {
  shell?.close();
  shell = new Shell(session, server);
  mount(shell.el);
  shell.start();
});

session.addEventListener("logout", (event) => {
  shell?.close();
  shell = null;
  history.replaceState(null, "", location.pathname);
  document.title = "docent";
  document.getElementById("toast").hidden = true;
  mount(new Login(session, server, REASONS[event.detail.reason]).el);
});

async function start() {
  mount(h("div", { class: "loading page" }, h("span", { class: "spinner" }), "Loading…"));
  try {
    server = await session.api.open("GET", "/v1/server");
    if (!(await session.restore())) mount(new Login(session, server, null).el);
  } catch (problem) {
    if (problem.status === 401) return; // the log-in view is there already
    mount(h("main", { class: "loading page", id: "main" },
      h("p", null, problem.message),
      h("button", { type: "button", class: "button primary", onclick: start }, "Try again")));
  }
}

start();
