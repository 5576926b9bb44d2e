// The page's modules that need no browser: node --test tests/client/page_modules.test.js

import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../entrypoints/page/model/outbox.js";
import { ThreadList, byDay } from "../../entrypoints/page/model/threads.js";
import { kindOf, readableSize } from "../../entrypoints/page/model/attachments.js";
import { MarkdownBlocks } from "../../entrypoints/page/text/markdown.js";
import { answerText, decisionsOf, formOf, valueOf } from "../../entrypoints/page/text/question_form.js";
import {
  clockWords,
  entryWords,
  lengthWords,
  segments,
  segmentWords,
  shortened,
  stages,
  stateWords,
} from "../../entrypoints/page/text/story.js";
import { isEmpty, parts, readable, whereabouts } from "../../entrypoints/page/text/tools.js";
import { connectionWords, endWords, turnWords } from "../../entrypoints/page/text/words.js";

const TEXT = `# Title

Some **bold** text with \`code\`, then

- one
- two

  with more

1. first
\`\`\`py
print("*")
\`\`\`

| a | b |
|---|---|
| 1 | 2 |

> quoted

***

~~~js
let open = 1`;

function whole(text) {
  return new MarkdownBlocks().of(text);
}

test("an answer that grows letter by letter reads like one that was there at once", () => {
  const growing = new MarkdownBlocks();
  for (let length = 0; length <= TEXT.length; length += 1) {
    assert.deepEqual(growing.of(TEXT.slice(0, length)), whole(TEXT.slice(0, length)), `${length} letters`);
  }
});

test("an answer that begins again is read anew", () => {
  const growing = new MarkdownBlocks();
  growing.of("one\n\ntwo\n\nthree");
  assert.deepEqual(growing.of("other\n\nwords"), whole("other\n\nwords"));
});

test("a link's address that comes after the link gives it its meaning", () => {
  const growing = new MarkdownBlocks();
  growing.of("see [this][1]\n\nand more");
  const html = new MarkdownBlocks().of("see [this][1]\n\nand more\n\n[1]: https://example.org")[0].html;
  assert.match(html, /href="https:\/\/example\.org"/);
});

test("markup, scripts' addresses and pictures from outside stay harmless", () => {
  const html = whole('<img src=x onerror=1> <b>b</b> [x](javascript:alert(1)) ![p](https://example.org/p.png "t")')
    .map((block) => block.html)
    .join("");
  assert.doesNotMatch(html, /<img|<b>|javascript:/);
  assert.match(html, /&lt;img src=x onerror=1&gt;/);
  assert.match(html, /<a href="https:\/\/example\.org\/p\.png"[^>]*>p<\/a>/);
});

test("headings continue the page's outline, whatever an answer begins with and leaves out", () => {
  const levels = (text) =>
    whole(text)
      .map(({ html }) => html[2])
      .join("");
  assert.equal(levels("# One\n\n## Two\n\n# Three"), "343");
  assert.equal(levels("### One\n\n##### Two\n\n#### Three\n\n# Four\n\n## Five"), "34434");
  assert.equal(levels("# 1\n\n## 2\n\n### 3\n\n#### 4\n\n##### 5"), "34566");
});

test("a fence is open until it is closed by one of its kind", () => {
  const open = (text) => whole(text)[0].open;
  assert.equal(open("```py\nx"), true);
  assert.equal(open("```py\nx\n```"), false);
  assert.equal(open("````\n```\n"), true);
  assert.equal(open("~~~\nx\n```"), true);
  assert.equal(open("```\n```"), false);
  assert.equal(open("    indented"), false);
});

test("every shape of question becomes a form that can be answered", () => {
  assert.deepEqual(formOf("sure?"), { kind: "text", prompt: "sure?" });
  assert.equal(formOf({ prompt: "name?", default: "Ada" }).initial, "Ada");
  assert.deepEqual(
    formOf({ question: "go?", type: "boolean" }).choices.map(({ value }) => value),
    [true, false],
  );
  assert.equal(formOf({ question: "go?", default: false }).kind, "choice");
  assert.deepEqual(formOf({ message: "which?", choices: ["a", { label: "B", value: 2 }, { id: 3, title: "C" }] }), {
    kind: "choice",
    prompt: "which?",
    choices: [
      { label: "a", value: "a" },
      { label: "B", value: 2 },
      { label: "C", value: 3 },
    ],
  });
  assert.equal(formOf({ question: "which?", options: ["a"], multiple: true }).kind, "choices");
  assert.equal(formOf({ type: "breakpoint", nodes: ["pay"] }).choices[0].value, true);
  assert.equal(formOf({ action_requests: [{ name: "pay", args: { sum: 1 } }] }).actions[0].name, "pay");
  for (const value of [null, 7, [], {}, { anything: 1 }, { options: ["a"] }, { question: " " }]) {
    assert.equal(formOf(value).kind, "json", JSON.stringify(value));
  }
});

test("answers read as they were given", () => {
  const question = { question: "which?", options: [{ label: "B", value: 2 }, "c"], multiple: true };
  assert.equal(answerText(2, question), "B");
  assert.equal(answerText([2, "c"], question), "B, c");
  assert.equal(answerText(true), "Yes");
  assert.equal(answerText("words", "sure?"), "words");
  assert.equal(answerText({ a: 1 }), '{\n  "a": 1\n}');
  const decided = decisionsOf([
    { approved: true, reason: "" },
    { approved: false, reason: " too dear " },
  ]);
  assert.deepEqual(decided, { decisions: [{ type: "approve" }, { type: "reject", message: "too dear" }] });
  assert.equal(answerText(decided), "Approved, Rejected: too dear");
  assert.deepEqual([valueOf("[1]"), valueOf("one")], [[1], "one"]);
});

test("tools stand where they were called, together if at one place", () => {
  const tool = (toolCallId, offset) => ({ toolCallId, offset });
  const [a, b, c] = [tool("a", 5), tool("b", 5), tool("c", 99)];
  assert.deepEqual(parts("First\n\nthen", [c, b, a]), [
    { text: "First" },
    { tools: [b, a] },
    { text: "\n\nthen" },
    { tools: [c] },
  ]);
  assert.deepEqual(parts("", [a]), [{ tools: [a] }]);
  assert.deepEqual(parts("only words", []), [{ text: "only words" }]);
});

test("what was thought, said aside or written stands where it came about, before or behind a tool", () => {
  const [early, late] = [{ toolCallId: "a", offset: 3 }, { toolCallId: "b", offset: 3 }];
  const [before, between] = [
    { offset: 3, calls: 0, text: "before" },
    { offset: 3, calls: 1, text: "between" },
  ];
  const [wrote, said] = [
    { offset: 3, calls: 2, value: 1 },
    { offset: 0, calls: 0, text: "said" },
  ];
  const beside = { reasoning: [before, between], asides: [said], custom: [wrote], media: [] };
  assert.deepEqual(parts("one two", [early, late], beside), [
    { asides: [said] },
    { text: "one" },
    { reasoning: [before] },
    { tools: [early] },
    { reasoning: [between] },
    { tools: [late] },
    { custom: [wrote] },
    { text: " two" },
  ]);
  assert.equal(whereabouts(["errand:1", "inner:2"]), "errand › inner");
});

test("a tool's values are readable, whatever they are", () => {
  assert.equal(readable('{"a":1}'), '{\n  "a": 1\n}');
  assert.equal(readable('{"a":1'), '{"a":1');
  assert.equal(readable("42"), "42");
  assert.equal(readable({ q: 1 }), '{\n  "q": 1\n}');
  assert.deepEqual([{}, "", undefined, 0, { a: 1 }].map(isEmpty), [true, true, true, false, false]);
});

test("the connection is told in words", () => {
  const say = (connection, more) => connectionWords({ why: "", ...connection }, { online: true, now: 1_000, ...more });
  assert.equal(say({ status: "connected" }), "Connected");
  assert.equal(say({ status: "connecting" }), "Connecting…");
  assert.equal(say({ status: "connecting", why: "lost" }), "Reconnecting…");
  assert.equal(say({ status: "waiting", retryAt: 3_500 }), "Reconnecting in 3 s…");
  assert.equal(say({ status: "waiting", retryAt: 1_200 }), "Reconnecting…");
  const offline = say({ status: "waiting", retryAt: 9 }, { online: false });
  assert.equal(offline, "You’re offline; your messages will be sent");
  assert.equal(say({ status: "closed", code: 4401 }), "Your session has ended. Sign in again.");
  assert.equal(say({ status: "closed", code: 4403 }, { deleted: true }), "This conversation was deleted.");
});

test("every phase of a turn has words, or needs none", () => {
  const turn = (phase, more) => ({ phase, text: "", tools: [], attempt: 1, questions: [], final: {}, ...more });
  const say = (phase, more, seen = { connected: true }) => turnWords(turn(phase, more), seen);
  assert.equal(say("unsent"), "Sending…");
  assert.match(say("unsent", {}, { connected: false }), /as soon as there is a connection/);
  assert.match(say("unsent", { error: { code: "busy", message: "" } }), /busy.*Trying again/);
  assert.match(say("refused", { error: { code: "too_long", message: "" } }), /^Not sent\./);
  assert.equal(say("running"), "Thinking…");
  assert.equal(say("running", { text: "x" }), "");
  assert.equal(say("running", { cancelWanted: true }), "Stopping…");
  assert.equal(say("running", { attempt: 2 }, { connected: true, begunAgain: true }), "Interrupted, and begun again");
  assert.equal(say("failed", { error: { code: "new_code", message: "what it says" } }), "What it says");
  assert.equal(say("answered", { final: { origin: "agent" } }), "The agent wrote first");
  assert.equal(endWords(turn("answered", { text: "Yes." })), "Answer: Yes.");
  assert.equal(endWords(turn("cancelled")), "The answer was stopped.");
  assert.equal(endWords(turn("answered")), "");
});

class Storage {
  #items = new Map();
  get length() {
    return this.#items.size;
  }
  key(index) {
    return [...this.#items.keys()][index];
  }
  getItem(key) {
    return this.#items.get(key) ?? null;
  }
  setItem(key, text) {
    this.#items.set(key, text);
  }
  removeItem(key) {
    this.#items.delete(key);
  }
}

test("what has no receipt outlives the tab, one entry a request, and no tab forgets another's", () => {
  const storage = new Storage();
  const frame = (requestId) => ({ type: "message", requestId, content: requestId });
  const [one, other] = [new Outbox(storage, "u", "t"), new Outbox(storage, "u", "t")];
  one.keep([frame("a"), frame("b")]);
  other.keep([frame("c")]);
  one.keep([frame("b")]);
  new Outbox(storage, "u", "elsewhere").keep([frame("d")]);
  storage.setItem("unbroken.outbox/u/t/broken", "{");
  assert.deepEqual(
    new Outbox(storage, "u", "t").recall().map(({ requestId }) => requestId),
    ["b", "c"],
  );
  assert.deepEqual(new Outbox(null, "u", "t").recall(), []);
});

test("threads are grouped by the day of their last activity", () => {
  const now = new Date(2026, 10, 23, 12);
  const at = (...time) => ({ updatedAt: new Date(...time).toISOString() });
  const grouped = byDay(
    [at(2026, 10, 23, 0, 1), at(2026, 10, 22, 23), at(2026, 10, 18), at(2026, 10, 1), at(2025, 1, 1)],
    now,
  );
  assert.deepEqual(
    grouped.map(([heading]) => heading),
    ["Today", "Yesterday", "Last 7 days", "Last 30 days", "Earlier"],
  );
});

test("a list that is read late does not overwrite what was asked later", async () => {
  const answers = [];
  const list = new ThreadList({ threads: () => new Promise((resolve) => answers.push(resolve)) }, () => {});
  const [first, second] = [list.load(), list.search("late")];
  answers[1]({ threads: [{ threadId: "new", updatedAt: "2" }], before: null });
  answers[0]({ threads: [{ threadId: "old", updatedAt: "1" }], before: null });
  await Promise.all([first, second]);
  assert.deepEqual(
    list.items.map(({ threadId }) => threadId),
    ["new"],
  );
});

test("a name that the server refuses is taken back", async () => {
  const refuse = () => Promise.reject(new Error("no"));
  const list = new ThreadList({ rename: refuse }, () => {});
  list.items = [{ threadId: "t", title: "before" }];
  await assert.rejects(list.rename("t", "after"));
  assert.equal(list.find("t").title, "before");
});

test("a server without a list of threads is not an error", async () => {
  const list = new ThreadList({ threads: () => Promise.reject(Object.assign(new Error(), { status: 404 })) }, () => {});
  await list.load();
  assert.equal(list.state, "absent");
});

test("files are called what they are", () => {
  assert.deepEqual(["image/png", "audio/ogg", "application/pdf", ""].map(kindOf), ["image", "audio", "file", "file"]);
  assert.deepEqual([12, 1_600, 2_340_000].map(readableSize), ["12 B", "2 kB", "2.3 MB"]);
});

const AT = (ms) => new Date(1_700_000_000_000 + ms).toISOString();
const TWO_ATTEMPTS = [
  { kind: "received", at: AT(0) },
  { kind: "accepted", at: AT(4), ms: 4 },
  { kind: "attempt", at: AT(4), attempt: 7, why: "accepted", lost: true },
  { kind: "attempt", at: AT(2_004), attempt: 8, why: "owner_gone" },
  { kind: "committed", at: AT(3_004) },
  { kind: "delivered", at: AT(3_054), ms: 50, cursor: 1 },
];

test("a turn's line has a piece for each length that is known, and for no other", () => {
  const drawn = segments(TWO_ATTEMPTS).map(({ kind, name, ms, lost }) => [kind, name, ms, lost ?? false]);
  assert.deepEqual(drawn, [
    ["accept", "Accepting", 4, false],
    ["wait", "Waiting", 0, false],
    ["run", "Attempt 7", 2_000, true],
    ["run", "Attempt 8", 1_000, false],
    ["deliver", "Delivering", 50, false],
  ]);
  const unknown = TWO_ATTEMPTS.map((entry) => (entry.attempt === 7 ? { ...entry, at: null } : entry));
  assert.deepEqual(
    segments(unknown).map(({ name }) => name),
    ["Accepting", "Attempt 8", "Delivering"],
  );
});

test("what is under way has lasted until now, and a lost attempt at most until the next one", () => {
  const words = (entries, now) => segments(entries, now).map(segmentWords);
  const underWay = TWO_ATTEMPTS.filter(({ kind }) => ["received", "accepted", "attempt"].includes(kind));
  assert.deepEqual(words(underWay, AT(5_004)), [
    "Accepting 4 ms",
    "Waiting 0 ms",
    "Attempt 7, lost within 2.00 s",
    "Attempt 8 3.00 s so far",
  ]);
  assert.deepEqual(words(underWay.slice(0, 2), AT(1_004)), ["Accepting 4 ms", "Waiting 1.00 s so far"]);
  assert.deepEqual(words(underWay.slice(0, 2), undefined), ["Accepting 4 ms"]);
});

test("an attempt that was handed over is not called lost", () => {
  const deployed = TWO_ATTEMPTS.map((entry) => (entry.attempt === 7 ? { ...entry, handedOver: true } : entry));
  assert.equal(segments(deployed).map(segmentWords)[2], "Attempt 7, handed over within 2.00 s");
});

test("a text that is cut short says so, and keeps its characters whole", () => {
  assert.equal(shortened("just so", 7), "just so");
  assert.equal(shortened("one two", 4), "one…");
  assert.equal(shortened("ab🧭cd", 3), "ab…");
});

test("a stage is reached at a moment, at one that nobody knows, or not", () => {
  const reached = Object.fromEntries(stages({ entries: [{ kind: "received", at: null }, ...TWO_ATTEMPTS.slice(1)] }));
  assert.equal(reached.Received, null);
  assert.equal(reached.Running, AT(4));
  assert.equal(reached.Delivered, AT(3_054));
  assert.equal(reached.Acknowledged, undefined);
});

test("lengths, moments and reasons are said in words, and what is not known is said to be", () => {
  assert.deepEqual([0, 999, 1_500, 12_345, 61_000, 7_300_000, undefined].map(lengthWords), [
    "0 ms",
    "999 ms",
    "1.50 s",
    "12.3 s",
    "1 min 1 s",
    "2 h",
    "",
  ]);
  assert.equal(clockWords(null), "not known");
  assert.equal(stateWords({ state: "failed", attempts: null }), "Failed");
  assert.equal(stateWords({ state: "answered", attempts: 2 }), "Answered · 2 attempts");
  const [, why] = entryWords({ kind: "attempt", attempt: 2, why: "again", because: "model_failed" });
  assert.equal(why, "the one before ended: model_failed");
  const timer = { kind: "effect", type: "schedule_timer", status: "failed", tries: 1, error: "no" };
  const [title, details] = entryWords(timer);
  assert.deepEqual([title, details], ["Timer", "given up, 1 try, no"]);
});
