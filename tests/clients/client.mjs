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
    return { class: e.constructor.name, status: e.status, type: e.type, code: e.code, param: e.param, message: e.error?.message, request_id: e.requestID, retry_after: e.headers?.get("retry-after") ?? null };
  }
  return null;
}

const scenarios = {
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
