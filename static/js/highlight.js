// Finds a quoted passage in a page whose line breaks and spaces differ from the quote's.

/** `[start, end]` of `snippet` in `text`, ignoring white space, or null. A long quote may match by its start. */
export function locate(text, snippet) {
  const wanted = squeeze(snippet.replace(/^[\s….]+|[\s….]+$/g, "")).letters;
  if (!wanted) return null;
  const page = squeeze(text);
  for (const length of [wanted.length, 160, 80, 40]) {
    if (length > wanted.length) continue;
    const at = page.letters.indexOf(wanted.slice(0, length));
    if (at >= 0) return [page.positions[at], page.positions[at + length - 1] + 1];
  }
  return null;
}

/** Joins lines that were only broken at the edge of the paper: a long one, and one that goes on in lower case. No position changes. */
export function unwrap(text) {
  return text.replace(/([^\n]{35})\n(?=\p{Ll})/gu, "$1 ");
}

/** The text without white space and soft hyphens, lower-cased, and where each letter was. */
function squeeze(text) {
  let letters = "";
  const positions = [];
  for (let i = 0; i < text.length; i += 1) {
    if (/[\s\u00ad\u200b]/.test(text[i])) continue;
    const lower = text[i].toLowerCase();
    letters += lower.length === 1 ? lower : text[i];
    positions.push(i);
  }
  return { letters, positions };
}
