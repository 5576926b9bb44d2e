// States in words. No DOM.

import { NEVER } from "../socket.js";

// `connection`: {status, why, code, retryAt}; `now` in milliseconds since the epoch.
export function connectionWords({ status, code, why, retryAt }, { online, now, deleted = false }) {
  switch (status) {
    case "connected":
      return "Connected";
    case "waiting": {
      if (!online) return "You’re offline; your messages will be sent";
      const seconds = Math.ceil((retryAt - now) / 1000);
      return seconds > 1 ? `Reconnecting in ${seconds} s…` : "Reconnecting…";
    }
    case "closed":
      return deleted ? "This conversation was deleted." : (NEVER.get(code) ?? why);
    default:
      return why ? "Reconnecting…" : "Connecting…";
  }
}

const FAILURES = {
  model_failed: "The model could not answer.",
  timed_out: "This took too long and was stopped.",
  poisoned: "Every try at this ended without an answer.",
  answer_too_long: "The answer became too long.",
  branch_gone: "The conversation cannot be taken back that far.",
  question_closed: "This question was closed before your answer came.",
  too_long: "This message is too long.",
  empty: "This message is empty.",
  thread_deleted: "This conversation was deleted.",
  queue_full: "Too many messages are waiting.",
  busy: "The agent is busy with another message.",
  too_fast: "That was a little fast.",
  unavailable: "The server cannot take messages at the moment.",
};

export function failureWords({ code, message }) {
  return FAILURES[code] ?? `${message.slice(0, 1).toUpperCase()}${message.slice(1)}`;
}

// One line under a turn, or "" if there is nothing to say.
export function turnWords(turn, { connected, begunAgain = false }) {
  const { phase, error, final, text, attempt } = turn;
  if (turn.cancelWanted && !turn.ended) return "Stopping…";
  switch (phase) {
    case "unsent":
      if (error) return `${failureWords(error)} Trying again…`;
      return connected ? "Sending…" : "Will be sent as soon as there is a connection";
    case "refused":
      return `Not sent. ${failureWords(error)}`;
    case "queued":
      return "Waiting for its turn";
    case "running":
      if (begunAgain) return attempt > 1 ? "Interrupted, and begun again" : "";
      return text || isBusy(turn) ? "" : "Thinking…";
    case "cancelling":
      return "Stopping…";
    case "cancelled":
      return "Stopped";
    case "failed":
      return failureWords(error);
    case "unknown":
      return connected ? "" : "Continues as soon as there is a connection";
    default:
      if (final.revised) return "Revised after it was shown";
      return final.origin === "agent" ? "The agent wrote first" : "";
  }
}

// Whether there is something to see of an answer that has not begun.
function isBusy({ tools, reasoning = [], asides = [], custom = [] }) {
  return tools.length + reasoning.length + asides.length + custom.length > 0;
}

// What a screen reader is told when a turn has ended; "" if nothing.
export function endWords({ phase, text, error }) {
  if (phase === "answered") return text ? `Answer: ${text}` : "";
  if (phase === "cancelled") return "The answer was stopped.";
  return phase === "failed" || phase === "refused" ? failureWords(error) : "";
}
