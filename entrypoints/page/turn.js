// One turn as a client shows it: what was said, and the answer as far as it is known. Twin of client/turn.py.
//
//   unsent ──accepted──▶ queued ──attempt──▶ running ──▶ answered · cancelled · failed
//      └──▶ refused         └──── cancelling ────┘
//
// unknown: the server has not named it since the socket was opened, or since a gap.

const MEDIA = new Set(["image", "audio", "video", "file", "image_url", "input_audio"]);
const ENDS = { final: "answered", cancelled: "cancelled", error: "failed" };

// Calls of subgraphs that work side by side may have one id.
export const callOf = ({ namespace, toolCallId }) => JSON.stringify([namespace ?? [], toolCallId]);

export class Turn {
  #called = new Set(); // tools that this socket has told of: what stands beside the text is before or behind them

  constructor(requestId) {
    this.requestId = requestId;
    this.seq = null;
    this.cursor = null; // of its first durable frame
    this.createdAt = null;
    this.said = {}; // {content}, or {interruptId, value}; empty: nobody said anything, the agent began
    this.replaces = null; // the request whose place it takes
    this.own = null; // the frame that we sent for it
    this.accepted = false;
    this.refused = false;
    this.doubtful = false; // the server has not named it since the socket was opened, or since a gap
    this.cancelWanted = false;
    this.cancelling = false;
    this.outOfStep = false; // its text must not be resumed, but begun again
    this.outcome = null;
    this.attempt = 0;
    this.text = "";
    this.tools = [];
    this.custom = []; // what the agent's code wrote into the stream, in order
    this.reasoning = []; // what models thought before they spoke, by message
    this.asides = []; // what subgraphs said, by message; it is no part of the text
    this.media = []; // blocks of the committed messages that are neither text nor reasoning: pictures, files
    this.toldAgain = false; // a new socket begins with the first of what stands beside the text
    this.questions = [];
    this.error = null;
    this.final = null;
  }

  get ended() {
    return this.outcome !== null;
  }

  // What it replaces is left behind; not if the server would not go back there.
  get forks() {
    return !this.refused && this.error?.code !== "branch_gone";
  }

  get phase() {
    if (this.outcome) return this.outcome;
    if (this.refused) return "refused";
    if (!this.accepted) return "unsent";
    if (this.doubtful) return "unknown";
    if (this.cancelling) return "cancelling";
    return this.attempt ? "running" : "queued";
  }

  view() {
    const { requestId, seq, createdAt, said, replaces, phase, attempt, text, questions, error, final } = this;
    const { tools, custom, reasoning, asides, media } = this;
    const shown = { text, tools, custom, reasoning, asides, media };
    return { requestId, seq, createdAt, said, replaces, phase, attempt, ...shown, questions, error, final };
  }

  unsent() {
    if (this.phase === "unsent" && this.own) return [this.own];
    if (this.cancelWanted && this.accepted && !this.cancelling && !this.ended) {
      return [{ type: "cancel", requestId: this.requestId }];
    }
    return [];
  }

  told(frame) {
    this.createdAt = frame.createdAt;
    this.replaces = frame.replaces ?? null;
    this.said = pick(frame, ["content", "interruptId", "value"]);
  }

  // Begin an attempt, or this one again.
  empty(attempt) {
    if (this.ended || attempt < this.attempt) return;
    this.attempt = attempt;
    this.outOfStep = false;
    this.text = "";
    this.tools = [];
    this.#called.clear();
    this.#clearBeside();
  }

  // Append to an attempt's text. False: this is not where the text ends.
  write(attempt, offset, value) {
    if (this.ended || attempt < this.attempt) return true;
    if (attempt > this.attempt) this.empty(attempt);
    if (offset !== this.text.length) {
      this.outOfStep = true;
      return false;
    }
    this.text += value;
    return true;
  }

  // A tool's step; the place in the text stays where it was called.
  use(frame) {
    if (this.ended || frame.attempt < this.attempt) return;
    if (frame.attempt > this.attempt) this.empty(frame.attempt);
    this.#called.add(callOf(frame));
    const step = pick(frame, ["toolCallId", "name", "phase", "offset", "namespace"]);
    if ("data" in frame) step[frame.phase === "started" ? "args" : "result"] = frame.data;
    const index = this.tools.findIndex((tool) => callOf(tool) === callOf(step));
    if (index < 0) this.tools.push(step);
    else this.tools[index] = { ...this.tools[index], ...step, offset: this.tools[index].offset };
  }

  connected() {
    this.toldAgain = !this.ended;
    this.#called.clear();
  }

  // Something that is said beside the text: `custom`, `reasoning` or `aside`.
  beside(frame) {
    if (this.ended || frame.attempt < this.attempt) return;
    if (frame.attempt > this.attempt) this.empty(frame.attempt);
    if (this.toldAgain) this.#clearBeside();
    const { namespace, offset, messageId, value } = frame;
    const place = { namespace, offset, calls: this.#called.size };
    if (frame.type === "custom") {
      this.custom.push({ ...place, value });
      return;
    }
    const said = frame.type === "reasoning" ? this.reasoning : this.asides;
    const index = said.findLastIndex((one) => one.messageId === messageId);
    if (index < 0) said.push({ ...place, messageId, text: value });
    else said[index] = { ...said[index], text: said[index].text + value };
  }

  // What a subgraph said has become part of the answer.
  aloud(messageId) {
    if (this.asides.length) this.asides = this.asides.filter((aside) => aside.messageId !== messageId);
  }

  // A durable frame of this turn: its end, or a question that follows it.
  end(frame) {
    if (frame.type === "question") {
      this.#ask(frame);
      return;
    }
    this.outcome = ENDS[frame.type];
    if (frame.type === "error") {
      this.error = pick(frame, ["code", "message", "retryable"]);
      return;
    }
    this.error = null;
    this.text = frame.message;
    if (frame.type === "final") {
      this.attempt = frame.attempt;
      this.final = pick(frame, ["origin", "waiting", "revised", "latencyMs", "tokenUsage"]);
      this.#recallTools(frame.content);
      this.#recallBeside(frame.content);
    }
  }

  closeQuestion(interruptId, outcome) {
    const question = this.questions.find((one) => one.interruptId === interruptId && one.outcome === null);
    if (question) question.outcome = outcome;
    return question !== undefined;
  }

  // What the committed messages say of tools: whoever was not there to see them is shown them all the same.
  #recallTools(messages) {
    const tools = [...this.tools];
    const results = new Map(messages.filter(({ role }) => role === "tool").map((one) => [one.tool_call_id, one]));
    let length = 0;
    for (const message of messages) {
      const text = message.role === "assistant" ? textOf(message.content) : "";
      if (text) length += text.length + (length ? 2 : 0);
      for (const call of message.tool_calls ?? []) {
        const result = results.get(call.id);
        const named = tools.filter((one) => one.toolCallId === call.id);
        let tool = named.find((one) => !one.namespace) ?? named[0]; // a subgraph may share its parent's messages
        if (!tool) tools.push((tool = { toolCallId: call.id, name: call.name, offset: length }));
        const phase = !result ? "started" : result.status === "error" ? "failed" : "finished";
        const told = { ...tool, phase, args: call.args, ...(result && { result: textOf(result.content) }) };
        tools[tools.indexOf(tool)] = told;
      }
    }
    this.tools = tools;
  }

  // What the committed messages hold besides text and tools, for whoever was not there to see it.
  #recallBeside(messages) {
    let length = 0;
    let calls = 0;
    this.media = [];
    for (const { id, role, content, tool_calls: called } of messages) {
      const blocks = Array.isArray(content) ? content : [];
      if (role === "assistant") {
        this.aloud(id);
        const thought = thoughtOf(blocks);
        if (thought) this.#recallThought(id, { offset: length, calls }, thought);
        const text = textOf(content);
        if (text) length += text.length + (length ? 2 : 0);
        calls += called?.length ?? 0;
      }
      if (role !== "assistant" && role !== "tool") continue;
      for (const block of blocks) if (MEDIA.has(block?.type)) this.media.push({ offset: length, calls, block });
    }
  }

  #recallThought(messageId, place, text) {
    const index = this.reasoning.findIndex((one) => one.messageId === messageId);
    if (index < 0) this.reasoning.push({ namespace: [], ...place, messageId, text });
    else this.reasoning[index] = { ...this.reasoning[index], text };
  }

  #clearBeside() {
    this.custom = [];
    this.reasoning = [];
    this.asides = [];
    this.toldAgain = false;
  }

  #ask({ interruptId, value }) {
    if (this.questions.some((question) => question.interruptId === interruptId)) return;
    this.questions.push({ interruptId, value, outcome: null });
  }
}

// Where a turn belongs: by `seq`, else by cursor; unfinished ones after ended ones, unsent ones last.
export function place(turn, turns) {
  let index = turns.length;
  while (index && follows(turns[index - 1], turn)) index -= 1;
  return index;
}

function follows(shown, turn) {
  if (shown.seq !== null && turn.seq !== null) return shown.seq > turn.seq;
  if (shown.cursor !== null && turn.cursor !== null) return shown.cursor > turn.cursor;
  if (shown.own !== null && !shown.accepted) return turn.own === null || turn.accepted;
  if (shown.ended) return false;
  return turn.cursor !== null || (turn.seq === null && turn.own === null);
}

export function textOf(content) {
  if (typeof content === "string") return content;
  return content.map((block) => (typeof block === "string" ? block : block.type === "text" ? block.text : "")).join("");
}

const textOfPart = ({ text }) => text ?? "";

// Each provider has a block of its own for what its model thought.
function thoughtOf(blocks) {
  return blocks
    .filter((block) => block?.type === "reasoning" || block?.type === "thinking")
    .map(({ reasoning, thinking, summary }) => reasoning || thinking || (summary ?? []).map(textOfPart).join("\n\n"))
    .join("");
}

function pick(frame, names) {
  return Object.fromEntries(names.filter((name) => name in frame).map((name) => [name, frame[name]]));
}
