// One turn, drawn. Text from outside becomes text nodes, never markup.

import { textOf } from "./turn.js";

const PHASES = { started: "…", finished: "✓", failed: "✗" };
const OUTCOMES = { answered: "answered", superseded: "no longer asked", cancelled: "withdrawn" };

export class TurnView {
  #said;
  #tools;
  #answer;
  #questions;
  #state;
  #begunAgain = false;

  constructor(requestId) {
    this.element = element("li", "turn");
    this.element.dataset.requestId = requestId;
    this.#said = element("div", "said");
    this.#tools = element("ul", "tools");
    this.#answer = element("div", "answer");
    this.#answer.append(document.createTextNode(""));
    this.#questions = element("ul", "questions");
    this.#state = element("p", "state");
    this.#said.setAttribute("aria-label", "You said");
    this.#answer.setAttribute("aria-label", "Answer");
    for (const part of [this.#said, this.#answer]) part.setAttribute("role", "group");
    this.element.append(this.#said, this.#tools, this.#answer, this.#questions, this.#state);
  }

  draw(turn, connected) {
    this.element.dataset.phase = turn.phase;
    this.element.setAttribute("aria-busy", String(turn.phase === "running"));
    this.element.dataset.attempt = turn.attempt;
    write(this.#said, saidText(turn.said));
    this.#drawText(turn);
    list(this.#tools, turn.tools, ({ name, phase }) => `${PHASES[phase] ?? ""} ${name}`);
    list(this.#questions, turn.questions, ({ value, outcome }) => {
      const asked = typeof value === "string" ? value : JSON.stringify(value);
      return outcome ? `${asked} (${OUTCOMES[outcome] ?? outcome})` : asked;
    });
    write(this.#state, this.#words(turn, connected));
  }

  // What is there already stays: only what is new is appended.
  #drawText(turn) {
    const node = this.#answer.firstChild;
    if (turn.text === node.data) return;
    if (turn.text.startsWith(node.data)) {
      node.appendData(turn.text.slice(node.data.length));
      return;
    }
    this.#begunAgain ||= !turn.ended;
    node.data = turn.text;
  }

  #words(turn, connected) {
    const { phase, error, final } = turn;
    switch (phase) {
      case "unsent":
        if (error) return `${error.message}; trying again`;
        return connected ? "Sending…" : "Will be sent as soon as there is a connection";
      case "refused":
        return `Not accepted: ${error.message}`;
      case "queued":
        return "Accepted; waiting for its turn";
      case "running":
        return this.#begunAgain ? "The answer began again" : turn.text ? "" : "Thinking…";
      case "cancelling":
        return "Stopping…";
      case "cancelled":
        return "Stopped";
      case "failed":
        return `Failed: ${error.message} (${error.code})`;
      case "unknown":
        return "How this went on is not known yet";
      default:
        if (final.revised) return "This answer was revised after it was shown";
        return final.origin === "agent" ? "Nobody asked for this: the agent wrote first" : "";
    }
  }
}

function element(name, className) {
  const made = document.createElement(name);
  made.className = className;
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
}

function list(node, items, words) {
  node.hidden = !items.length;
  while (node.children.length > items.length) node.lastChild.remove();
  items.forEach((item, index) => {
    const line = node.children[index] ?? node.appendChild(document.createElement("li"));
    line.dataset.phase = item.phase ?? "";
    const text = words(item);
    if (line.textContent !== text) line.textContent = text;
  });
}

function saidText({ content, value, interruptId }) {
  if (content !== undefined) {
    if (typeof content === "string") return content;
    const others = content.filter(({ type }) => type !== "text").map(({ type }) => `[${type}]`);
    return [textOf(content), ...others].filter(Boolean).join("\n");
  }
  if (interruptId === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
