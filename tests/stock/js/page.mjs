// A chat around useStream as LangGraph ships it, once over the Agent Streaming
// Protocol (@langchain/react) and once over the classic REST (@langchain/langgraph-sdk/react, ?classic).
import { createElement as h, useState } from "react";
import { createRoot } from "react-dom/client";
import { useStream } from "@langchain/react";
import { useStream as useClassicStream } from "@langchain/langgraph-sdk/react";

const asked = new URLSearchParams(location.search);
const use = asked.has("classic") ? useClassicStream : useStream;

function textOf({ content }) {
  if (typeof content === "string") return content;
  return content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

const kindOf = (message) => (typeof message.getType === "function" ? message.getType() : message.type);

function remember(threadId) {
  asked.set("thread", threadId);
  history.replaceState(null, "", `?${asked}`);
}

function Chat() {
  const [draft, setDraft] = useState("");
  const stream = use({
    assistantId: asked.get("assistant") ?? "chat",
    apiUrl: location.origin,
    threadId: asked.get("thread") ?? undefined,
    onThreadId: remember,
    reconnectOnMount: true,
    fetchStateHistory: false,
    ...(asked.has("websocket") ? { transport: "websocket" } : {}),
  });
  const send = (event) => {
    event.preventDefault();
    setDraft("");
    stream.submit({ messages: [{ type: "human", content: draft }] });
  };
  // By its id: after a reload the question is shown from the thread's state, before the stream has brought what
  // `respond` without an id answers.
  const answer = () =>
    stream.respond
      ? stream.respond("yes", { interruptId: stream.interrupt.id })
      : stream.submit(undefined, { command: { resume: "yes" } });
  const shown = stream.messages
    .filter((message) => textOf(message) !== "")
    .map((message) => h("li", { key: message.id, className: kindOf(message) }, textOf(message)));
  const calls = stream.toolCalls.map(({ id, name, call }) => h("li", { key: id, className: "call" }, name ?? call.name));
  return h(
    "main",
    { "data-state": stream.isLoading ? "loading" : "idle" },
    h("h1", null, asked.has("classic") ? "useStream, classic REST" : "useStream, Agent Streaming Protocol"),
    h("ol", null, shown, calls),
    stream.interrupt && h("button", { onClick: answer }, `Yes: ${JSON.stringify(stream.interrupt.value)}`),
    stream.error && h("p", { role: "alert" }, String(stream.error?.message ?? stream.error)),
    h(
      "form",
      { onSubmit: send },
      h("input", {
        "aria-label": "Message",
        value: draft,
        onChange: (event) => setDraft(event.target.value),
      }),
    ),
  );
}

createRoot(document.getElementById("root")).render(h(Chat));
