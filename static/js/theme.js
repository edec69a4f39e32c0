// Dark or light: the system's choice until the reader makes one.

import { append, icon, iconButton } from "./dom.js";
import { store } from "./session.js";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function current() {
  return document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
}

export function themeToggle() {
  const button = iconButton("moon", "Dark theme", { "data-testid": "theme-toggle", onclick: () => {
    const next = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    store.set("docent.theme", next);
    draw();
  } });
  const draw = () => {
    const next = current() === "dark" ? "light" : "dark";
    button.replaceChildren();
    append(button, [icon(next === "dark" ? "moon" : "sun")]);
    const name = next === "dark" ? "Dark theme" : "Light theme";
    button.title = name;
    button.setAttribute("aria-label", name);
  };
  dark.addEventListener("change", draw);
  draw();
  return button;
}
