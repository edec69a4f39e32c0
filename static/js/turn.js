// One answer as it arrives: a plain record and the rule that applies a part to it. No DOM, no network.
// Offsets make it idempotent: a part that was seen is ignored, so replaying after a drop is harmless.

/** A turn of which nothing has arrived. `last` is the offset to resume after. */
export function newTurn(id) {
  return { id, last: -1, status: "streaming", messageId: null, text: "", citations: [], approvals: [], sources: [], notices: [], usage: null, errorText: null, askedAgainAt: null };
}

/** What a caller should do next. */
export const Applied = Object.freeze({
  Changed: "changed", // draw it
  Seen: "seen", // an old part, nothing happened
  Gap: "gap", // parts are missing before it: attach again after `turn.last`
  Ended: "ended", // the terminal part: no more will come
  Rewound: "rewound", // the terminal part of a log that is shorter than what was seen: read the stored answer
});

/**
 * Applies one part. Unknown types count as seen-and-kept, so a newer server does not break the page.
 * Text may stand for many parts, from the offset `first` on.
 */
export function applyPart(turn, offset, part, first = offset) {
  if (!Number.isInteger(offset) || turn.status !== "streaming") return Applied.Seen;
  if (part?.type === "data-snapshot") return begin(turn, offset);
  if (offset <= turn.last) return end(turn, part) ? Applied.Rewound : Applied.Seen;
  if (first <= turn.last) return Applied.Gap; // some of its text is here already: ask for the rest alone
  if (first > turn.last + 1 && turn.askedAgainAt !== turn.last) {
    turn.askedAgainAt = turn.last; // ask once; if the replay has the same gap, take what there is
    return Applied.Gap;
  }
  turn.last = offset;
  if (end(turn, part)) return Applied.Ended;
  switch (part?.type) {
    case "start":
      turn.messageId = part.messageId ?? null;
      return Applied.Changed;
    case "text-delta":
      if (typeof part.delta === "string") turn.text += part.delta;
      return Applied.Changed;
    case "source-document":
      turn.sources.push({ id: part.sourceId, name: part.filename ?? part.title, mediaType: part.mediaType });
      return Applied.Changed;
    case "data-citation":
      addCitation(turn, part.data);
      return Applied.Changed;
    case "data-approval":
      if (part.data) turn.approvals.push(part.data);
      return Applied.Changed;
    case "data-notice":
      if (typeof part.data?.text === "string") turn.notices.push(part.data.text);
      return Applied.Changed;
    case "data-usage":
      turn.usage = part.data ?? null;
      return Applied.Changed;
    default:
      return Applied.Changed;
  }
}

/** The log is gone and the stored message stands for it: it comes whole, with offsets of its own. */
function begin(turn, offset) {
  Object.assign(turn, { last: offset, text: "", citations: [], approvals: [], sources: [], notices: [], usage: null });
  return Applied.Changed;
}

const ENDS = { finish: "complete", abort: "stopped", error: "failed" };

/** Takes a terminal part; false for any other. */
function end(turn, part) {
  if (!Object.hasOwn(ENDS, part?.type)) return false;
  turn.status = ENDS[part.type];
  if (turn.status === "failed") turn.errorText = part.errorText || "The answer could not be finished.";
  return true;
}

function addCitation(turn, citation) {
  if (!Number.isInteger(citation?.index)) return;
  turn.citations = turn.citations.filter((other) => other.index !== citation.index).concat(citation);
  turn.citations.sort((a, b) => a.index - b.index);
}

/** A message of GET …/messages in the shape of a turn, so that one view draws both. */
export function turnOfMessage(message) {
  return {
    ...newTurn(message.turn_id),
    messageId: message.id,
    text: message.text ?? "",
    status: message.status ?? "complete",
    citations: message.citations ?? [],
    approvals: message.approvals ?? [],
    usage: message.usage ?? null,
  };
}

/** The citations the text refers to, and the ones that were only read. */
export function splitCitations(turn) {
  const named = new Set();
  for (const found of turn.text.matchAll(/\[(\d{1,3}(?:\s?[,;]\s?\d{1,3}){0,15})\]/g)) {
    for (const n of found[1].split(/[,;]/)) named.add(Number(n));
  }
  return {
    cited: turn.citations.filter((citation) => named.has(citation.index)),
    read: turn.citations.filter((citation) => !named.has(citation.index)),
  };
}
