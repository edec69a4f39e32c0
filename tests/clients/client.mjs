// What a program does with OpenAI's client for Node; says what came of it as one line of JSON.

import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 }); // OPENAI_BASE_URL and OPENAI_API_KEY
const [scenario, model] = process.argv.slice(2);

/** The error that a call must end in. */
async function error(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    return { class: e.constructor.name, status: e.status, type: e.type, code: e.code, param: e.param, message: e.error?.message, request_id: e.requestID, retry_after: e.headers?.get("retry-after") ?? null, left: e.headers?.get("x-ratelimit-remaining-requests") ?? null };
  }
  return null;
}

const ADD = { type: "function", function: { name: "add", description: "Adds.", parameters: { type: "object", properties: { a: { type: "number" } } } } };
const PIXEL = "data:image/png;base64,iVBORw0KGgo=";

/** Everything of a stream: text, calls, how it ended, usage, citations. */
async function streamed(request) {
  let text = "", finish = null, total = null, citations = 0;
  const calls = [];
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })) {
    citations += chunk.citations?.length ?? 0;
    total = chunk.usage?.total_tokens ?? total;
    for (const { delta, finish_reason: reason } of chunk.choices) {
      finish = reason ?? finish;
      text += delta.content ?? "";
      for (const call of delta.tool_calls ?? []) {
        calls[call.index] ??= { id: call.id, name: call.function.name, arguments: "" };
        calls[call.index].arguments += call.function.arguments ?? "";
      }
    }
  }
  return { text, calls, finish, total, citations };
}

const scenarios = {
  async chat() {
    const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "What is the answer?" }];
    const whole = await client.chat.completions.create({ model: "gpt-4o-mini", messages, temperature: 0.5, max_completion_tokens: 50, stop: ["END"] });
    const [choice] = whole.choices;
    const stream = await streamed({ model: "gpt-4o-mini", messages });
    return { whole: [choice.message.content, choice.finish_reason, whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.model], stream };
  },
  async tools() {
    const messages = [{ role: "user", content: [{ type: "text", text: "Add." }, { type: "image_url", image_url: { url: PIXEL } }] }];
    const whole = await client.chat.completions.create({ model: "gpt-4o-mini", messages, tools: [ADD], tool_choice: "required" });
    const said = whole.choices[0].message;
    const [call] = said.tool_calls;
    const stream = await streamed({ model: "gpt-4o-mini", messages, tools: [ADD] });
    messages.push(said, { role: "tool", tool_call_id: call.id, content: "3" });
    const last = await client.chat.completions.create({ model: "gpt-4o-mini", messages, tools: [ADD] });
    return { call: [call.function.name, call.function.arguments, whole.choices[0].finish_reason, said.content], stream, last: last.choices[0].message.content };
  },
  async schema() {
    const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"], additionalProperties: false };
    const said = await client.chat.completions.create({ model: "gpt-4o-mini", messages: [{ role: "user", content: "A city." }], response_format: { type: "json_schema", json_schema: { name: "City", schema, strict: true } } });
    return { name: JSON.parse(said.choices[0].message.content).name };
  },
  async assistant() {
    const messages = [{ role: "user", content: "How long is the notice period?" }];
    const whole = await client.chat.completions.create({ model: "default", messages });
    const stream = await streamed({ model: "default", messages });
    const goesOn = await client.chat.completions.create({ model: "default", messages, metadata: { conversation_id: model }, temperature: 0.25, top_p: 0.5, max_completion_tokens: 40, stop: ["END"] });
    return { whole: whole.citations.length, stream: stream.citations, goes_on: goesOn.choices[0].message.content };
  },
  async wrong() {
    const user = [{ role: "user", content: "Hi" }];
    const asking = (more) => error(() => client.chat.completions.create({ model: "gpt-4o-mini", messages: user, ...more }));
    const remote = [{ role: "user", content: [{ type: "image_url", image_url: { url: "https://example.com/a.png" } }] }];
    const refused = { n: await asking({ n: 2 }), unknown: await asking({ model: "gpt-9" }), remote: await asking({ messages: remote }), whole: await asking({}) };
    const failed = await streamed({ model: "gpt-4o-mini", messages: user }).catch((e) => e.message);
    return { ...refused, stream: failed };
  },
  async clerk() {
    const messages = [{ role: "user", content: "What is six times seven?" }];
    const whole = (await client.chat.completions.create({ model: "clerk", messages })).choices[0];
    const stream = await streamed({ model: "clerk", messages });
    const own = await client.chat.completions.create({ model: "clerk", messages, tools: [ADD] });
    return { whole: [whole.message.content, whole.finish_reason, whole.message.tool_calls ?? null], stream, own: own.choices[0].message.tool_calls[0].function.name };
  },
  async helpers() {
    const asked = { model: "gpt-4o-mini", messages: [{ role: "user", content: "A city." }] };
    const add = { ...ADD.function, parse: JSON.parse, function: ({ a }) => `${a + 2}` };
    const tool = await client.chat.completions.runTools({ ...asked, stream: true, tools: [{ type: "function", function: add }] }).finalContent();
    const streamed = JSON.parse(await client.chat.completions.stream(asked).finalContent());
    const { data, response } = await client.chat.completions.create(asked).withResponse();
    const one = async () => {
      let text = "";
      for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) text += chunk.choices[0].delta.content ?? "";
      return text;
    };
    return { tool, streamed: streamed.name, turn: response.headers.get("x-turn-id"), raw: data.choices[0].message.content, at_once: await Promise.all([one(), one()]) };
  },
  /** Reads a word and hangs up. */
  async leaves() {
    const { data, response } = await client.chat.completions.create({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Count." }], stream: true }).withResponse();
    let word;
    for await (const chunk of data) {
      word = chunk.choices[0].delta.content;
      if (word) break; // which aborts the request
    }
    return { word: word.split(" ")[0], turn: response.headers.get("x-turn-id") };
  },
  async models() {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    return { ids, one: (await client.models.retrieve(ids[0])).object, none: await error(() => client.models.retrieve("gpt-9")) };
  },
  async embeddings() {
    const texts = ["The notice period is ninety days.", "Ninety days is the notice period.", "Bread needs yeast."];
    const { data: base64, response } = await client.embeddings.create({ model, input: texts }).withResponse();
    const floats = await client.embeddings.create({ model, input: texts, encoding_format: "float" });
    const one = await client.embeddings.create({ model, input: texts[0], dimensions: 384 });
    const [a, b, c] = base64.data.map((d) => d.embedding);
    const near = (x, y) => x.reduce((sum, p, i) => sum + p * y[i], 0);
    return {
      length: a.length,
      same: floats.data.every((f, i) => f.embedding.every((p, j) => Math.abs(p - [a, b, c][i][j]) < 1e-6)),
      one: one.data[0].embedding.every((p, i) => p === a[i]),
      near: near(a, b) > near(a, c),
      tokens: [base64.usage.total_tokens, one.usage.prompt_tokens],
      headers: Object.fromEntries(["x-request-id", "x-ratelimit-limit-requests", "x-ratelimit-reset-tokens"].map((name) => [name, response.headers.get(name)])),
      of_tokens: await error(() => client.embeddings.create({ model, input: [[1, 2, 3]] })),
      too_many: await error(() => client.embeddings.create({ model, input: Array(2049).fill("x") })),
      dimensions: await error(() => client.embeddings.create({ model, input: "x", dimensions: 7 })),
      model: await error(() => client.embeddings.create({ model: "gpt-9", input: "x" })),
    };
  },
  async refused() {
    return { models: await error(() => client.models.list()), embeddings: await error(() => client.embeddings.create({ model, input: "x" })) };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
