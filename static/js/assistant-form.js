// What an editor writes of an assistant: its fields, what they hold, and what is wrong with one of them.

import { fill, h } from "./dom.js";

/** Name, label, what it is for, and how it is written. */
export const FIELDS = [
  { name: "name", label: "Name", kind: "line", max: 80 },
  { name: "slug", label: "Short name", hint: "For addresses and programs: a-z, 0-9 and -. Changes at once.", kind: "line", max: 63 },
  { name: "description", label: "What it is for", kind: "line", max: 500 },
  { name: "greeting", label: "Greeting", hint: "Shown before the first question.", kind: "line", max: 500 },
  { name: "instructions", label: "Instructions", hint: "How it answers. The model reads this; people who ask do not see it.", kind: "text", max: 16_000 },
  { name: "collections", label: "Collections", hint: "Separated by commas. Empty: all documents.", kind: "list" },
  { name: "language", label: "Language of answers", hint: "A tag such as de or pt-BR. Empty: that of the question.", kind: "line", max: 35 },
  { name: "model", label: "Model", hint: "Empty: the server’s default.", kind: "line", max: 200 },
  { name: "temperature", label: "Temperature", hint: "0 (always alike) to 2. Empty: as the model likes.", kind: "number" },
  { name: "tools", label: "Tools", hint: "Names, separated by commas.", kind: "list" },
];

const NULL_WHEN_EMPTY = new Set(["model", "language"]);

/** A field's value as the API wants it. */
export function read({ name, kind }, text) {
  const value = text.trim();
  if (kind === "list") return value.split(",").map((one) => one.trim()).filter(Boolean);
  if (kind === "number") return value === "" ? null : numberOr(value);
  return value === "" && NULL_WHEN_EMPTY.has(name) ? null : value;
}

/** What is no number is sent as it is: the server says what is wrong with it. */
function numberOr(text) {
  const number = Number(text.replace(",", "."));
  return Number.isFinite(number) ? number : text;
}

/** A field's value as it is written in its box. */
export function written({ kind }, value) {
  if (kind === "list") return (value ?? []).join(", ");
  return value === null || value === undefined ? "" : String(value);
}

/** A short name for a new assistant. */
export function slugOf(name) {
  return name.normalize("NFKD").toLowerCase().replace(/[\u0300-\u036f]/g, "").replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 63);
}

/** The boxes. `onChange()` with each key. */
export class AssistantForm {
  constructor(onChange) {
    this.boxes = new Map();
    this.collections = h("datalist", { id: "collection-names" });
    this.el = h("div", { class: "form" }, FIELDS.map((field) => this.#row(field, onChange)), this.collections);
  }

  #row(field, onChange) {
    const id = `assistant-${field.name}`;
    const props = { id, class: "field", dir: "auto", maxlength: field.max ?? null, "data-testid": id, "aria-describedby": `${id}-hint ${id}-wrong`, oninput: () => { this.#wrong(field.name, ""); onChange(); } };
    const box = field.kind === "text"
      ? h("textarea", { ...props, rows: "8" })
      : h("input", { ...props, autocomplete: "off", inputmode: field.kind === "number" ? "decimal" : null, list: field.name === "collections" ? "collection-names" : null });
    this.boxes.set(field.name, box);
    return h("div", { class: "form-row" }, h("label", { for: id }, field.label), box,
      h("small", { class: "quiet", id: `${id}-hint` }, field.hint ?? ""),
      h("small", { class: "wrong", id: `${id}-wrong`, role: "alert" }));
  }

  offer(names) {
    fill(this.collections, names.map((name) => h("option", { value: name })));
  }

  show(values) {
    for (const field of FIELDS) {
      this.boxes.get(field.name).value = written(field, values[field.name]);
      this.#wrong(field.name, "");
    }
  }

  values() {
    const values = Object.fromEntries(FIELDS.map((field) => [field.name, read(field, this.boxes.get(field.name).value)]));
    return { ...values, slug: values.slug || slugOf(values.name) };
  }

  /** Says at the field what is wrong with it; false when the problem names none. */
  complain(problem) {
    const box = this.boxes.get(problem.field);
    if (!box) return false;
    const { label } = FIELDS.find((field) => field.name === problem.field);
    this.#wrong(problem.field, problem.message.replace(`\`${problem.field}\``, label)); // as the page calls it
    box.focus();
    return true;
  }

  #wrong(name, sentence) {
    const box = this.boxes.get(name);
    if (sentence) box.setAttribute("aria-invalid", "true");
    else box.removeAttribute("aria-invalid");
    box.parentElement?.querySelector(".wrong")?.replaceChildren(sentence);
  }
}
