// Elements without markup strings: the page never parses HTML, so no text can become an element.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  clip: "M20 11.5l-8.2 8.2a5 5 0 0 1-7.1-7.1l8.5-8.5a3.4 3.4 0 0 1 4.8 4.8l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4l7.8-7.8",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 20c.8-3.6 3.8-5.5 8-5.5s7.2 1.9 8 5.5",
  folder: "M3 6h6l2 2h10v11H3z",
  files: "M7 3h7l5 5v13H7zM14 3v5h5M10 13h6M10 17h6",
  down: "M12 5v14M6 13l6 6 6-6",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.5l4.5 4.5L19 7.5",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4M6.4 17.6L5 19",
  logout: "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
  open: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  key: "M14 10a4 4 0 1 0-3.4 4L13 16.5h2.5V19H18v-3.5L13.6 11M8.5 9.5h.01",
  retry: "M20 5v5h-5M19.5 10A8 8 0 1 0 20 14",
  alert: "M12 4l9 16H3zM12 10v4.5M12 17.2v.3",
};

/** `h("button", {class: "x", onclick: fn, "aria-label": "…"}, "text", child, null)` */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(key.replace(/^on/, ""), value);
    else if (key === "value") node.value = value;
    else node.setAttribute(key === "class" ? "class" : key, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

export function append(node, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child);
  }
}

export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, svg("path", { d: ICONS[name] }));
}

export function svg(tag, props, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}

/** A button with an icon and a name for screen readers; `props.text` shows the name too. */
export function iconButton(name, label, props = {}) {
  const { text, ...rest } = props;
  const attributes = { type: "button", class: text ? "button" : "icon-button", title: text ? null : label, "aria-label": text ? null : label, ...rest };
  return h("button", attributes, icon(name), text ? h("span", null, label) : null);
}

/** Says a sentence to screen readers, once. */
export function announce(sentence) {
  const region = document.getElementById("status");
  if (!region) return;
  region.textContent = "";
  setTimeout(() => { region.textContent = sentence; }, 30);
}

let toastTimer = 0;

/** A short sentence at the foot of the window. */
export function toast(sentence) {
  const box = document.getElementById("toast");
  box.textContent = sentence;
  box.hidden = false;
  announce(sentence);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { box.hidden = true; }, 6000);
}

/** Says what went wrong; not when it was the log-in, because then its view says so. */
export function complain(problem) {
  if (problem.status !== 401) toast(problem.message);
}

/** A modal question for a line of text; resolves to it, or to null. */
export function textDialog({ title, label, value, options, action }) {
  return new Promise((resolve) => {
    const input = h("input", { class: "field", maxlength: "80", dir: "auto", value, list: "dialog-options", "aria-label": label, placeholder: label, "data-testid": "dialog-text" });
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "dialog-title" }, title), input,
        h("datalist", { id: "dialog-options" }, options.map((one) => h("option", { value: one }))),
        h("div", { class: "dialog-actions" },
          h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"),
          h("button", { class: "button primary", value: "yes", "data-testid": "dialog-yes" }, action))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? input.value.trim() : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A modal question; resolves to true when the action was chosen. */
export function confirmDialog({ title, text, action }) {
  return new Promise((resolve) => {
    const close = (answer) => () => dialog.close(answer);
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title", "data-testid": "confirm-dialog" },
      h("h2", { id: "dialog-title" }, title),
      h("p", { dir: "auto" }, text),
      h("div", { class: "dialog-actions" },
        h("button", { type: "button", class: "button", onclick: close("no") }, "Cancel"),
        h("button", { type: "button", class: "button danger", "data-testid": "confirm-yes", onclick: close("yes") }, action)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
