// Reads Server-Sent Events from a fetch response: EventSource cannot send an Authorization header.

/** Splits a growing text into events. Comments are dropped, `data` lines joined, a first BOM removed. */
export class SseDecoder {
  #rest = "";
  #event = { event: "message", data: [], id: null };
  #first = true;

  /** Events completed by this chunk: `{event, data, id}`. */
  push(chunk) {
    this.#rest += chunk;
    if (this.#first && this.#rest) {
      this.#first = false;
      this.#rest = this.#rest.replace(/^\ufeff/, "");
    }
    const held = this.#rest.endsWith("\r") ? "\r" : "";
    const lines = this.#rest.slice(0, this.#rest.length - held.length).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + held;
    return lines.map((line) => this.#line(line)).filter(Boolean);
  }

  #line(line) {
    if (line === "") {
      const { event, data, id } = this.#event;
      this.#event = { event: "message", data: [], id };
      return data.length ? { event, data: data.join("\n"), id } : null;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#event.data.push(value);
    if (field === "event") this.#event.event = value;
    if (field === "id") this.#event.id = value;
    return null;
  }
}

/** The events of a response, until it ends or is aborted. */
export async function* events(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const lines = new SseDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* lines.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
