// What the composer and the editor of a question share: how long a text may be, what sends it, how the box grows.

export const LONGEST = 16_000; // below a 64 KiB frame in any script

/** Enter sends, unless it makes a new line or belongs to an input method. */
export function sends(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
}

/** As high as its text, up to a limit. */
export function fit(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, 220)}px`;
}
