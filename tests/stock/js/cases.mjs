// The cases of LangGraph's client for JavaScript: node cases.mjs URL CONTROL CASE. Prints one line of JSON: what the
// client ended with, without ids, times or anything else that no two runs share. `node cases.mjs` prints the cases.
import { randomUUID } from "node:crypto";
import { Client } from "@langchain/langgraph-sdk";
import { WebSocket } from "ws";

globalThis.WebSocket ??= WebSocket; // older Nodes have none

const [url, control, wanted] = process.argv.slice(2);
const PATIENCE_MS = 60_000;
const ENDED = ["success", "error", "interrupted", "timeout"];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ask = (path) => fetch(control + path, { method: "POST" });
const human = (content) => ({ messages: [{ role: "user", content }] });
const client = () => new Client({ apiUrl: url, apiKey: null });

async function until(holds, what) {
  for (let n = 0; n < PATIENCE_MS / 2 / 20; n += 1) {
    if (await holds()) return;
    await sleep(20);
  }
  throw new Error(`in vain: ${what}`);
}

async function drained(parts) {
  const all = [];
  for await (const part of parts) all.push(part);
  return all;
}

function textOf(message) {
  const content = message.content ?? message.kwargs?.content ?? "";
  if (typeof content === "string") return content;
  return content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

// Messages are instances of classes in streams, and plain JSON in states.
const kindOf = (message) => (typeof message.getType === "function" ? message.getType() : message.type);
const talk = (values) => (values?.messages ?? []).map((message) => [kindOf(message), textOf(message)]);

function refusal(error) {
  const status = error?.status ?? error?.response?.status;
  return status ? `HTTP ${status}` : String(error?.message ?? error).split("\n")[0].slice(0, 200);
}

// The newest message of a thread's root, as it is said.
class Saying {
  text = "";
  ended = false;
  failure = null;

  constructor(thread) {
    this.reading = this.read(thread).catch((error) => (this.failure = error));
  }

  async read(thread) {
    const events = await thread.subscribe({ channels: ["messages"], namespaces: [[]], depth: 0 });
    for (;;) {
      for await (const { params } of events) {
        if (params.data.event === "message-start") [this.text, this.ended] = ["", false];
        if (params.data.event === "content-block-delta") this.text += params.data.delta.text ?? "";
        if (params.data.event === "message-finish") this.ended = true;
      }
      if (!events.isPaused) return; // a handle pauses where a run ends
      await events.waitForResume();
    }
  }

  async words(number) {
    await until(() => this.failure || this.text.includes(`word${number - 1} `), `${number} words`);
    if (this.failure) throw this.failure;
  }

  async whole() {
    await until(() => this.failure || (this.ended && this.text.includes("word9")), "the whole answer");
    if (this.failure) throw this.failure;
    return this.text;
  }
}

const CASES = {};

function both(name, title, play, kills = false) {
  for (const transport of ["sse", "websocket"]) {
    const opened = (assistantId, threadId) =>
      threadId
        ? client().threads.stream(threadId, { assistantId, transport })
        : client().threads.stream({ assistantId, transport });
    CASES[`js/${transport}/${name}`] = { title, kills, play: () => play(opened) };
  }
}

both("stream", "streams an answer", async (opened) => {
  const thread = opened("chat");
  const messages = (async () => (await drained(thread.messages)).map((message) => message.text))();
  await thread.run.start({ input: human("hello there") });
  const output = talk(await thread.output);
  return { messages: await Promise.all(await messages), output };
});

both("tools", "calls a tool", async (opened) => {
  const thread = opened("agent");
  const calls = drained(thread.toolCalls);
  await thread.run.start({ input: human("weather please") });
  const output = talk(await thread.output);
  const once = new Map((await calls).map((call) => [call.callId, call])); // the client shows a call again at its end
  const told = [...once.values()].map(async (call) => [call.name, call.input, await call.output]);
  return { calls: await Promise.all(told), output };
});

both("values", "shows the states of a graph without messages", async (opened) => {
  const thread = opened("counter");
  await thread.run.start({ input: { number: 3 } });
  return { values: await drained(thread.values), output: await thread.output };
});

both("custom", "passes on what a node writes to the stream", async (opened) => {
  const thread = opened("agent");
  const handle = thread.subscribe({ channels: ["custom", "lifecycle"] });
  await thread.run.start({ input: human("weather please") });
  const events = await drained(await handle);
  return events.filter((event) => event.method === "custom").map((event) => event.params.data.payload);
});

both("subgraphs", "tells subgraphs apart", async (opened) => {
  const thread = opened("nested");
  const handle = thread.subscribe({ channels: ["lifecycle"] });
  await thread.run.start({ input: human("go") });
  const place = (namespace) => namespace.map((segment) => segment.split(":")[0]).join("/");
  return (await drained(await handle)).map(({ params }) => [place(params.namespace), params.data.event]);
});

both("interrupt", "asks, and goes on with the answer", async (opened) => {
  const thread = opened("ask");
  await thread.run.start({ input: human("go") });
  await until(() => thread.interrupted && thread.interrupts.length > 0, "a question");
  const [{ interruptId, namespace, payload }] = thread.interrupts;
  await thread.input.respond({ interrupt_id: interruptId, namespace, response: "yes" });
  const state = () => client().threads.getState(thread.threadId);
  await until(async () => (await state()).next.length === 0, "the end");
  return { payload, output: talk((await state()).values) };
});

both("two-questions", "asks two questions at once, answered together", async (opened) => {
  const thread = opened("two_asks");
  await thread.run.start({ input: human("go") });
  await until(() => thread.interrupted && thread.interrupts.length === 2, "two questions");
  const responses = thread.interrupts.map(({ interruptId, payload }) => ({
    interrupt_id: interruptId,
    response: `to ${payload.side}`,
  }));
  await thread.respondInput({ responses });
  const state = () => client().threads.getState(thread.threadId);
  await until(async () => (await state()).next.length === 0, "the end");
  return talk((await state()).values).map(([, text]) => text).sort();
});

both("fails", "tells of a node that raises", async (opened) => {
  const thread = opened("failing");
  const handle = thread.subscribe({ channels: ["lifecycle"] });
  await thread.run.start({ input: human("go") });
  const { data } = (await drained(await handle)).at(-1).params;
  return [data.event, data.error];
});

both("join", "lets a second client join in mid-answer", async (opened) => {
  const key = randomUUID();
  const first = opened("chat");
  await first.run.start({ input: human(`hold ${key}`) });
  const sayings = [new Saying(first), new Saying(opened("chat", first.threadId))];
  await Promise.all(sayings.map((saying) => saying.words(5)));
  await ask(`/release/${key}`);
  return Promise.all(sayings.map((saying) => saying.whole()));
});

both("second-run", "takes a second message on the same thread", async (opened) => {
  const thread = opened("chat");
  const texts = [];
  for (const word of ["one", "two"]) {
    const messages = word === "one" ? drained(thread.messages) : null;
    await thread.run.start({ input: human(word) });
    if (messages) texts.push(...(await Promise.all((await messages).map((message) => message.text))));
    const { threadId } = thread;
    const runs = () => client().runs.list(threadId);
    const rest = async () => (await runs()).every((run) => ENDED.includes(run.status));
    await until(async () => (await runs()).length === (word === "one" ? 1 : 2) && (await rest()), "rest");
  }
  return { texts, output: talk((await client().threads.getState(thread.threadId)).values) };
});

both("reconnect", "goes on after the connection was cut in mid-answer", async (opened) => {
  const key = randomUUID();
  const thread = opened("chat");
  await thread.run.start({ input: human(`hold ${key}`) });
  const saying = new Saying(thread);
  await saying.words(5);
  await ask("/cut");
  await ask(`/release/${key}`);
  return { said: await saying.whole(), output: talk(await thread.output).slice(1) };
});

both(
  "kill",
  "survives a kill -9 in mid-answer, with one and the same handle",
  async (opened) => {
    const key = randomUUID();
    const thread = opened("chat");
    await thread.run.start({ input: human(`hold ${key}`) });
    const saying = new Saying(thread);
    await saying.words(5);
    await ask("/restart");
    await ask(`/release/${key}`);
    return { said: await saying.whole(), output: talk(await thread.output).slice(1) };
  },
  true,
);

CASES["js/runs/stream"] = {
  title: "streams a run by REST, and knows its id",
  play: async () => {
    const { thread_id } = await client().threads.create();
    let created = false;
    const parts = client().runs.stream(thread_id, "chat", {
      input: human("hello there"),
      streamMode: ["values", "messages-tuple"],
      onRunCreated: (run) => (created = run.thread_id === thread_id && typeof run.run_id === "string"),
    });
    const all = await drained(parts);
    const said = all.filter(({ event }) => event === "messages").map(({ data }) => textOf(data[0]));
    return { created, said: said.join(""), last: talk(all.findLast(({ event }) => event === "values").data) };
  },
};

CASES["js/runs/cancel"] = {
  title: "cancels a run by REST",
  play: async () => {
    const key = randomUUID();
    const { thread_id } = await client().threads.create();
    const input = human(`hold ${key}`);
    const { run_id } = await client().runs.create(thread_id, "chat", { input, streamMode: ["messages-tuple"] });
    await until(async () => (await client().runs.get(thread_id, run_id)).status === "running", "a run");
    await client().runs.cancel(thread_id, run_id, true);
    await ask(`/release/${key}`);
    return (await client().runs.get(thread_id, run_id)).status;
  },
};

const reread = (disturbance) => async () => {
  const key = randomUUID();
  const { thread_id } = await client().threads.create();
  const parts = client().runs.stream(thread_id, "chat", {
    input: human(`hold ${key}`),
    streamMode: ["values", "messages-tuple"],
    streamResumable: true,
    onDisconnect: "continue",
  });
  let values = null;
  for await (const { event, data } of parts) {
    if (event === "values") values = data;
    if (event === "messages" && textOf(data[0]).includes("word4")) {
      await ask(disturbance);
      await ask(`/release/${key}`);
    }
  }
  const state = (await client().threads.getState(thread_id)).values;
  return { values: talk(values).slice(1), state: talk(state).slice(1) };
};

CASES["js/runs/reconnect"] = {
  title: "goes on with Last-Event-ID after the connection was cut in mid-answer",
  play: reread("/cut"),
};
CASES["js/runs/kill"] = {
  title: "survives a kill -9 in mid-answer, in one and the same stream",
  kills: true,
  play: reread("/restart"),
};

CASES["js/kept"] = {
  title: "finds assistants, threads, states and items",
  play: async () => {
    const mark = randomUUID();
    const { thread_id } = await client().threads.create({ metadata: { mark } });
    await client().runs.wait(thread_id, "steps", { input: { trail: ["in"] } });
    const [assistant] = await client().assistants.search({ graphId: "steps" });
    await client().store.putItem([mark], "k", { v: 1 });
    const found = await client().threads.search({ metadata: { mark } });
    const history = await client().threads.getHistory(thread_id, { limit: 2 });
    return {
      assistant: assistant.name,
      threads: found.length,
      history: history.map(({ values, next }) => [values, next]),
      item: (await client().store.getItem([mark], "k")).value,
      items: (await client().store.searchItems([mark])).items.length,
      stateless: await client().runs.wait(null, "counter", { input: { number: 1 } }),
      unknown: await client().threads.get("00000000-0000-4000-8000-000000000000").catch(refusal),
    };
  },
};

if (wanted === undefined) {
  const known = Object.entries(CASES).map(([name, { title, kills = false }]) => ({ name, title, kills }));
  console.log(JSON.stringify(known));
} else {
  const late = sleep(PATIENCE_MS).then(() => {
    throw new Error("the case hangs");
  });
  const shown = await Promise.race([CASES[wanted].play(), late]).catch((error) => ({ raised: refusal(error) }));
  process.stdout.write(`${JSON.stringify(shown)}\n`, () => process.exit(0));
}
