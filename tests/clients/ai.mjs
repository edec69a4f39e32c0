// What a page does with Vercel's AI SDK, without the page: the chat that `useChat` wraps, with its own transport.
// Says what came of it as one line of JSON. Arguments: a scenario, and which of its versions (ai5_0 is 5.0.0; ai5, ai6, ai7).

const [scenario, sdk] = process.argv.slice(2);
const { AbstractChat, DefaultChatTransport } = await import(sdk);
const { DOCENT_URL, DOCENT_KEY } = process.env;

/** A state without a framework. */
class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => { this.messages = [...this.messages, message]; };
  popMessage = () => { this.messages = this.messages.slice(0, -1); };
  replaceMessage = (at, message) => { this.messages = this.messages.with(at, this.snapshot(message)); };
  snapshot = (thing) => structuredClone(thing);
}

class Chat extends AbstractChat {
  constructor(more = {}, id = `${sdk} ${scenario}`, key = DOCENT_KEY) {
    const headers = { Authorization: `Bearer ${key}`, ...more.headers };
    const transport = new DefaultChatTransport({ api: `${DOCENT_URL}/api/chat`, headers, fetch: more.fetch, body: more.body });
    super({ id, transport, state: new State(), onError: () => {}, onData: more.onData });
  }
}

const text = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");
const kinds = (message) => message.parts.map((part) => part.type);
const said = (chat) => ({ texts: chat.messages.map(text), status: chat.status, error: chat.error?.message ?? null });
const post = (path) => fetch(`${DOCENT_URL}${path}`, { method: "POST", headers: { Authorization: `Bearer ${DOCENT_KEY}` } });

/** Resolves once the last message has a word in it. */
async function heard(chat, word) {
  while (!(chat.lastMessage?.role === "assistant" && text(chat.lastMessage).includes(word))) {
    if (chat.status === "error") throw chat.error;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const scenarios = {
  async chat() {
    const chat = new Chat({ body: { assistant: "default" } });
    await chat.sendMessage({ text: "How long is the notice period?" });
    const first = chat.lastMessage;
    const done = first.parts.every((part) => part.state === undefined || part.state === "done");
    const data = Object.fromEntries(first.parts.filter((part) => part.type.startsWith("data-")).map((part) => [part.type, part.data]));
    await chat.sendMessage({ text: "And in days?" });
    return { ...said(chat), kinds: kinds(first), done, cited: data["data-citation"].file_name, billed: data["data-usage"].output_tokens, id: first.id };
  },
  async regenerate() {
    const chat = new Chat();
    await chat.sendMessage({ text: "First?" });
    await chat.sendMessage({ text: "Second?" });
    const [, one, , two] = chat.messages;
    await chat.regenerate(); // the last answer
    const again = chat.lastMessage.id !== two.id;
    await chat.regenerate({ messageId: one.id }); // an answer, by our id
    const cut = said(chat);
    await chat.sendMessage({ text: "Second, edited?", messageId: chat.messages[0].id }); // a question, by the client's id
    return { again, cut, ...said(chat) };
  },
  async resume() {
    const cut = new AbortController();
    const flaky = async (url, init) => {
      const response = await fetch(url, init);
      if (init?.method !== "POST") return response;
      const body = response.body.pipeThrough(new TransformStream(), { signal: cut.signal });
      return new Response(body, response);
    };
    const chat = new Chat({ fetch: flaky });
    const asking = chat.sendMessage({ text: "Count." });
    await heard(chat, "w2");
    cut.abort(new TypeError("network error"));
    await asking;
    const broken = said(chat);
    let same = chat;
    if (sdk.startsWith("ai5")) { // appends the answer to the piece that it has: it needs a new chat
      same = new Chat();
      same.messages = chat.messages.slice(0, -1);
    }
    const going = same.resumeStream();
    const reloaded = new Chat(); // a page that was loaded anew
    const watching = reloaded.resumeStream();
    await heard(reloaded, "w2");
    const other = new Chat({}, `${sdk} other`);
    await other.sendMessage({ text: "Go on." }); // the test lets all go on then
    await Promise.all([going, watching]);
    // Nothing runs any more: nothing happens. (5.0.0 would say `submitted` for ever, whatever it is told.)
    if (sdk !== "ai5_0") await reloaded.resumeStream();
    return { broken, ...said(same), reloaded: said(reloaded) };
  },
  async stop() {
    const chat = new Chat();
    const idle = (await post(`/api/chat/${encodeURIComponent(chat.id)}/stop`)).status;
    const asking = chat.sendMessage({ text: "Count." });
    await heard(chat, "w2");
    const stopped = await post(`/api/chat/${encodeURIComponent(chat.id)}/stop`);
    await asking;
    const again = await post(`/api/chat/${encodeURIComponent(chat.id)}/stop`);
    return { ...said(chat), statuses: [idle, stopped.status, again.status], last: kinds(chat.lastMessage).at(-1) };
  },
  async wrong() {
    const failing = new Chat();
    await failing.sendMessage({ text: "Hi" });
    const retried = new Chat({}, "", DOCENT_KEY);
    await retried.sendMessage({ text: "Hi" });
    const stranger = new Chat({}, "x", "nonsense");
    await stranger.sendMessage({ text: "Hi" });
    const nobody = new Chat({ body: { assistant: "nobody" } }, "y");
    await nobody.sendMessage({ text: "Hi" });
    const file = new Chat({}, "z");
    await file.sendMessage({ text: "Hi", files: [{ type: "file", mediaType: "text/plain", url: "data:text/plain,x" }] });
    return { failing: said(failing), name: said(retried).error, stranger: said(stranger).error, nobody: said(nobody).error, file: said(file).error };
  },
  async tools() {
    const chat = new Chat({ headers: { "X-Docent-Ai-Sdk": sdk.slice(2) } });
    await chat.sendMessage({ text: "Add." });
    const tool = chat.lastMessage.parts.find((part) => part.type === "tool-add");
    return { ...said(chat), kinds: kinds(chat.lastMessage), tool: [tool.state, tool.input, tool.providerExecuted], thought: chat.lastMessage.parts.find((part) => part.type === "reasoning").text };
  },
  async steps() {
    const chat = new Chat();
    await chat.sendMessage({ text: "Tell me." });
    return { ...said(chat), kinds: kinds(chat.lastMessage) };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
