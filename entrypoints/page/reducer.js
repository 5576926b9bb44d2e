// The client's side of the chat protocol as a state machine: frames in, what is shown out. No I/O, no clock.
//
// The twin of entrypoints/client/reducer.py; both run over the traces in tests/client/traces. What holds at all
// times: a turn's text is a prefix of exactly one attempt, or its durable end; each durable frame counts once;
// whatever is missing is asked for (`reconnect`, `missing`), never skipped in silence.

import { Turn, place } from "./turn.js";

const DURABLE = new Set(["final", "question", "cancelled", "error"]);

export class Conversation {
  // What one client knows of one thread. `start`: the cursor to begin with (0: from the log's beginning),
  // "tail", or null for the old protocol.

  #start;
  #turns = new Map();

  constructor(start = 0) {
    this.#start = start;
    this.cursor = Number.isInteger(start) ? start : null; // of the last durable frame presented
    this.turns = []; // in the order they are shown; messages not yet accepted come last
    this.reconnect = null; // "missing_cursor" or "out_of_step": frames are dropped until `connected`
    this.missing = null; // log entries above `after`, up to and including `until`, are to be read from the history
    this.notice = null; // the last refusal that is no turn's end
  }

  // What the user does; each returns the frame to send.

  // `options`: replaces, whenBusy.
  send(requestId, content, options = {}) {
    return this.#say(requestId, { content }, { type: "message", requestId, content, ...options });
  }

  respond(requestId, interruptId, value) {
    return this.#say(requestId, { interruptId, value }, { type: "respond", requestId, interruptId, value });
  }

  cancel(requestId) {
    const turn = this.turn(requestId);
    if (turn) turn.cancelWanted = !turn.ended;
    return { type: "cancel", requestId };
  }

  // Take back a message that has no receipt; one that was accepted all the same comes back with its `user`.
  discard(requestId) {
    const turn = this.turn(requestId);
    if (turn && !turn.accepted) this.#forget(turn);
  }

  // What the connection asks and says.

  // A socket was opened with the parameters of `resume`: the server names again whatever it still owes.
  connected() {
    this.reconnect = null;
    this.#doubt();
    for (const turn of this.turns) turn.connected();
  }

  // The query parameters of the next connection: `cursor`, and where the running answer stands, if shown.
  resume() {
    const cursor = this.cursor ?? this.#start;
    const query = cursor === null ? {} : { cursor };
    let running = null;
    for (const turn of this.turns) {
      if (!turn.attempt || turn.ended || turn.outOfStep) continue;
      if (!running || turn.attempt > running.attempt) running = turn;
    }
    if (running) {
      query.requestId = running.requestId;
      query.attempt = running.attempt;
      query.offset = running.text.length;
    }
    return query;
  }

  // The frames that no answer has come to, in order: send them again on any socket of this thread.
  unsent() {
    return this.turns.flatMap((turn) => turn.unsent());
  }

  // One page of GET /api/threads/{id}/messages, newest page first.
  history(page) {
    this.cursor ??= page.cursor;
    const users = new Map();
    for (const frame of page.messages) {
      if (frame.type === "user") users.set(frame.requestId, frame);
      else if (frame.cursor <= this.cursor) this.#recall(frame, users);
    }
    if (!this.missing) return;
    this.missing.until = (page.before ?? 0) - 1;
    if (this.missing.until <= this.missing.after) this.missing = null;
  }

  // One frame of the socket; frames of unknown types are ignored, but for their cursor.
  apply(frame) {
    if (this.reconnect) return;
    const cursor = frame.cursor ?? null;
    if (frame.type === "gap") this.#gap(frame);
    else if (cursor === null) this.#provisional(frame);
    else if (this.cursor === null || cursor === this.cursor + 1) {
      this.cursor = cursor;
      this.#durable(frame);
    } else if (cursor > this.cursor) this.reconnect = "missing_cursor";
  }

  // The turns that are shown: one that replaces another hides that one and everything after it up to itself.
  branch() {
    const before = new Map();
    let last = null;
    for (const turn of this.turns) {
      // What it replaces may be older than all that is known here.
      const place = turn.replaces === null || !turn.forks ? last : (before.get(turn.replaces) ?? null);
      before.set(turn.requestId, place);
      last = turn;
    }
    const shown = [];
    for (; last; last = before.get(last.requestId)) shown.push(last);
    return shown.reverse();
  }

  view() {
    return {
      cursor: this.cursor,
      turns: this.turns.map((turn) => turn.view()),
      branch: this.branch().map((turn) => turn.requestId),
      reconnect: this.reconnect,
      missing: this.missing && { ...this.missing },
      notice: this.notice,
      resume: this.resume(),
      unsent: this.unsent(),
    };
  }

  turn(requestId) {
    return this.#turns.get(requestId) ?? null;
  }

  #say(requestId, said, frame) {
    if (!this.#turns.has(requestId)) {
      const turn = new Turn(requestId);
      turn.said = said;
      turn.own = frame;
      turn.replaces = frame.replaces ?? null;
      this.#insert(turn);
    }
    return frame;
  }

  #insert(turn) {
    this.#turns.set(turn.requestId, turn);
    this.turns.splice(place(turn, this.turns), 0, turn);
  }

  // The turn a frame of the server belongs to: the server has it, so it is accepted.
  #announced(frame, seq = null) {
    let turn = this.turn(frame.requestId);
    if (!turn) {
      turn = new Turn(frame.requestId);
      turn.seq = frame.seq ?? seq;
      turn.cursor = frame.cursor ?? null;
      turn.accepted = true;
      this.#insert(turn);
    } else if (!turn.accepted) {
      turn.accepted = true;
      turn.refused = false;
      turn.error = null;
    }
    turn.doubtful = false;
    return turn;
  }

  #numbered(turn, seq) {
    if (turn.seq === seq) return;
    turn.seq = seq;
    this.turns.splice(this.turns.indexOf(turn), 1);
    this.turns.splice(place(turn, this.turns), 0, turn);
  }

  #provisional(frame) {
    switch (frame.type) {
      case "accepted":
        if (this.#turns.has(frame.requestId)) this.#numbered(this.#announced(frame), frame.seq);
        break;
      case "user": {
        const turn = this.#announced(frame);
        turn.told(frame);
        this.#numbered(turn, frame.seq);
        break;
      }
      case "reset":
        this.#announced(frame).empty(frame.attempt);
        break;
      case "token": {
        const turn = this.#announced(frame);
        if (!turn.write(frame.attempt, frame.offset, frame.value)) this.reconnect = "out_of_step";
        turn.aloud(frame.messageId);
        break;
      }
      case "tool":
        this.#announced(frame).use(frame);
        break;
      case "custom":
      case "reasoning":
      case "aside":
        this.#announced(frame).beside(frame);
        break;
      case "cancelling":
        this.#announced(frame).cancelling = true;
        break;
      case "error":
        this.#refusal(frame);
    }
  }

  #refusal(frame) {
    const error = pick(frame, ["code", "message", "retryable", "requestId", "path"]);
    const turn = this.turn(frame.requestId);
    if (!turn || turn.accepted || turn.refused) {
      this.notice = error;
      if (turn && !frame.retryable) turn.cancelWanted = false;
      return;
    }
    turn.error = error;
    turn.refused = !frame.retryable;
  }

  #durable(frame) {
    if (frame.type === "answered") {
      this.turns.findLast((turn) => turn.closeQuestion(frame.interruptId, frame.outcome));
    } else if (DURABLE.has(frame.type) && "requestId" in frame) {
      const turn = this.#announced(frame);
      turn.cursor ??= frame.cursor;
      turn.end(frame);
    } else if (frame.type === "error") this.#refusal(frame);
  }

  // A durable frame from the history: it may be known already, and others may have come before it.
  #recall(frame, users) {
    if (!("requestId" in frame)) {
      this.#durable(frame);
      return;
    }
    const user = users.get(frame.requestId);
    const turn = this.#announced(frame, user?.seq ?? null);
    if (user) {
      turn.told(user);
      this.#numbered(turn, user.seq);
    }
    this.#durable(frame);
  }

  #gap(frame) {
    let after = this.cursor ?? 0;
    if (frame.reason === "unknown_cursor") {
      after = 0;
      this.missing = null;
      for (const turn of [...this.turns]) {
        this.#forget(turn);
        if (turn.own && !turn.ended) this.#say(turn.requestId, turn.said, turn.own);
      }
    }
    this.#doubt();
    if (this.missing) after = this.missing.after;
    this.missing = frame.cursor > after ? { after, until: frame.cursor } : null;
    this.cursor = frame.cursor;
  }

  #doubt() {
    for (const turn of this.turns) turn.doubtful = turn.accepted && !turn.ended;
  }

  #forget(turn) {
    this.turns.splice(this.turns.indexOf(turn), 1);
    this.#turns.delete(turn.requestId);
  }
}

function pick(frame, names) {
  return Object.fromEntries(names.filter((name) => name in frame).map((name) => [name, frame[name]]));
}
