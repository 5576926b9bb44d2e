// One thread as this tab has it: the conversation, its connection, and what is being written.

import { Attachments } from "./attachments.js";
import { newId } from "./ids.js";
import { Outbox } from "./outbox.js";
import { Conversation } from "../reducer.js";
import { Connection } from "../socket.js";

export class ThreadSession {
  #storage;
  #draftKey;
  #outbox;
  #changed;

  // `changed` is called whenever anything shown may have changed.
  constructor({ threadId, agentId, owner, api, storage, changed }) {
    this.threadId = threadId;
    this.agentId = agentId;
    this.conversation = new Conversation(0);
    this.connection = new Connection(this.conversation, api, { threadId, agentId }, () => this.#moved());
    this.attachments = new Attachments(api, threadId, agentId, changed);
    this.#storage = storage;
    this.#draftKey = `unbroken.draft/${owner}/${threadId}`;
    this.#outbox = new Outbox(storage, owner, threadId);
    this.#changed = changed;
    this.draft = storage?.getItem(this.#draftKey) ?? "";
    for (const frame of this.#outbox.recall()) this.#sayAgain(frame);
  }

  open() {
    this.connection.open();
  }

  // What has no receipt yet is still sent; then the connection ends.
  leave() {
    this.connection.leave();
  }

  write(draft) {
    this.draft = draft;
    try {
      if (draft) this.#storage?.setItem(this.#draftKey, draft);
      else this.#storage?.removeItem(this.#draftKey);
    } catch {
      // The storage is full: then the draft does not outlive the tab.
    }
    this.#changed();
  }

  // Say what was written, with what is attached to it.
  say() {
    const content = this.attachments.contentWith(this.draft.trim());
    this.attachments.clear();
    this.write("");
    this.#send(content, {});
  }

  respond(interruptId, value) {
    this.connection.send(this.conversation.respond(newId(), interruptId, value));
  }

  // The conversation goes on from before `turn`, with another content or, by default, the same one.
  replace(turn, content = turn.said.content) {
    this.#send(content, { replaces: turn.requestId, ...(this.unfinished.length && { whenBusy: "interrupt" }) });
  }

  stop(turn) {
    this.connection.send(this.conversation.cancel(turn.requestId));
  }

  discard(turn) {
    this.conversation.discard(turn.requestId);
    this.#moved();
  }

  get unfinished() {
    return this.conversation.turns.filter((turn) => turn.accepted && !turn.ended);
  }

  // The turn that Esc stops: the one that runs, or waits for longest.
  get stoppable() {
    const shown = this.unfinished.filter((turn) => !turn.cancelWanted && !turn.cancelling);
    return shown.find((turn) => turn.attempt) ?? shown[0] ?? null;
  }

  get openQuestions() {
    return this.conversation.turns.flatMap((turn) => turn.questions.filter(({ outcome }) => outcome === null));
  }

  get title() {
    const first = this.conversation.branch().find(({ said }) => said.content !== undefined);
    if (!first) return "";
    const { content } = first.said;
    const text = typeof content === "string" ? content : (content.find(({ type }) => type === "text")?.text ?? "");
    const line = text.trim().split(/\s+/).join(" ");
    return line.length > 80 ? `${line.slice(0, 79).trimEnd()}…` : line;
  }

  #send(content, options) {
    this.connection.send(this.conversation.send(newId(), content, options));
    this.#moved();
  }

  #sayAgain({ type, requestId, content, interruptId, value, ...options }) {
    if (type === "respond") this.conversation.respond(requestId, interruptId, value);
    else this.conversation.send(requestId, content, options);
  }

  #moved() {
    this.#outbox.keep(this.conversation.unsent().filter(({ type }) => type !== "cancel"));
    this.#changed();
  }
}
