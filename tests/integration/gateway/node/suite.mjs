// The unmodified openai package against a gateway: node suite.mjs BASE_URL, key in OPENAI_API_KEY.
// Prints one JSON object: what each call gave, or the error's name, status and code.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], maxRetries: 0 });
const messages = [{ role: "user", content: "Say hello." }];
const answerSchema = {
  type: "json_schema",
  json_schema: {
    name: "answer",
    strict: true,
    schema: {
      type: "object",
      properties: { answer: { type: "string" } },
      required: ["answer"],
      additionalProperties: false,
    },
  },
};
const quote = {
  type: "function",
  function: {
    name: "quote",
    parameters: { type: "object", properties: { symbol: { type: "string" } } },
  },
};

async function streamed(asked) {
  let text = "";
  let usage = null;
  let toolArguments = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    const delta = chunk.choices[0]?.delta;
    text += delta?.content ?? "";
    toolArguments += delta?.tool_calls?.[0]?.function?.arguments ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, usage, toolArguments };
}

const calls = {
  chat: async () =>
    (await client.chat.completions.create({ model: "deepseek", messages })).choices[0].message.content,
  streaming: () =>
    streamed({ model: "deepseek", messages, stream_options: { include_usage: true } }),
  tools: async () => {
    const asked = { model: "tools", messages, tools: [quote] };
    const answer = await client.chat.completions.create(asked);
    return JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments);
  },
  toolsStreamed: async () =>
    JSON.parse((await streamed({ model: "tools", messages, tools: [quote] })).toolArguments),
  jsonSchema: async () => {
    const asked = { model: "deepseek", messages, response_format: answerSchema };
    return JSON.parse((await client.chat.completions.create(asked)).choices[0].message.content);
  },
  embeddings: async () =>
    (await client.embeddings.create({ model: "embed", input: ["one", "two"] })).data.length,
  models: async () => {
    const found = [];
    for await (const model of client.models.list()) found.push(model.id);
    return found;
  },
  aborted: async () => {
    const stop = new AbortController();
    const asked = { model: "deepseek", messages, stream: true };
    const stream = await client.chat.completions.create(asked, { signal: stop.signal });
    for await (const _ of stream) {
      stop.abort();
      break;
    }
    return "left";
  },
  wrongKey: () => new OpenAI({ baseURL: process.argv[2], apiKey: "cpg-wrong" }).models.list(),
  unknownModel: () => client.chat.completions.create({ model: "nobody", messages }),
  badRequest: () => client.chat.completions.create({ model: "deepseek", messages: [] }),
  vendorGone: () => client.chat.completions.create({ model: "gone", messages }),
  noBudget: () =>
    client.chat.completions.create({ model: "dear", messages, max_tokens: 1_000_000 }),
};

const told = {};
for (const [name, call] of Object.entries(calls)) {
  try {
    told[name] = { ok: await call() };
  } catch (error) {
    const { status, code, param, type } = error;
    told[name] = { error: error.constructor.name, status, code, param, type };
  }
}
console.log(JSON.stringify(told));
