// A turn's story in words and lengths. No DOM.

const NOT_KNOWN = "not known";

const STATES = {
  waiting: "Waiting for its turn",
  running: "Running",
  answered: "Answered",
  cancelled: "Stopped",
  failed: "Failed",
  skipped: "Skipped",
};

const WHY = {
  accepted: "the session was idle",
  next: "the one before had ended",
  found: "it was found waiting",
  lease_expired: "the server before fell silent",
  owner_gone: "the server’s process before was gone",
};

const EFFECTS = {
  send_message: "Answer",
  request_input: "Question",
  close_question: "Question closed",
  cancel_turn: "Stopped",
  report_failure: "Failure",
  schedule_timer: "Timer",
  skip_event: "Skipped",
};

const LOGGED = { pending: "not delivered yet", executing: "delivered", completed: "acknowledged" };
const EXECUTED = { pending: "to be done", executing: "being done", completed: "done", failed: "given up" };

export function stateWords({ state, attempts }) {
  const counted = attempts === null ? "" : ` · ${attempts} attempt${attempts === 1 ? "" : "s"}`;
  return `${STATES[state] ?? state}${counted}`;
}

export function clockWords(at) {
  if (!at) return NOT_KNOWN;
  const moment = new Date(at);
  const time = moment.toLocaleTimeString(undefined, { hour12: false });
  return `${time}.${String(moment.getMilliseconds()).padStart(3, "0")}`;
}

// No half of a character, and no end that looks like the text's own.
export function shortened(text, limit) {
  return text.length <= limit ? text : `${text.slice(0, limit).replace(/[\ud800-\udbff]$/, "").trimEnd()}…`;
}

// "" where nobody knows.
export function lengthWords(ms) {
  if (ms === undefined || ms === null) return "";
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 120 ? `${minutes} min ${Math.round((ms % 60_000) / 1_000)} s` : `${Math.floor(minutes / 60)} h`;
}

// [title, details] of an entry.
export function entryWords(entry) {
  switch (entry.kind) {
    case "received":
      return ["Received", ""];
    case "accepted":
      return ["Accepted", "stored; from here on nothing loses it"];
    case "attempt":
      return [`Attempt ${entry.attempt}`, attemptWords(entry)];
    case "checkpoint":
      return [entry.checkpointNs ? "Checkpoint of a subgraph" : "Checkpoint", stepWords(entry)];
    case "cancel":
      return ["Stop asked for", ""];
    case "committed":
      return ["Committed", "its end and its state, in one transaction"];
    case "effect":
      return [EFFECTS[entry.type] ?? entry.type, effectWords(entry)];
    case "delivered":
      return ["Delivered", `entry ${entry.cursor}, written to a socket`];
    case "acknowledged":
      return ["Acknowledged", `entry ${entry.cursor}, shown by a client`];
    default:
      return [entry.kind, ""];
  }
}

const LOST = "lost; a reset took back what it had not committed";
const HANDED_OVER =
  "handed over, as its process was told to stop; the next one goes on from what it had committed";

function attemptWords({ why, because, lost, handedOver }) {
  const reason = why === "again" ? `the one before ended: ${because ?? NOT_KNOWN}` : (WHY[why] ?? "");
  return [reason, handedOver ? HANDED_OVER : lost && LOST].filter(Boolean).join("; ");
}

function stepWords({ step, source }) {
  return [step !== undefined && `step ${step}`, source].filter((part) => part !== false && part).join(", ");
}

function effectWords({ cursor, status, tries, code, error }) {
  const state = cursor === undefined ? EXECUTED[status] : LOGGED[status];
  const counted = tries ? `${tries} ${tries === 1 ? "try" : "tries"}` : "";
  return [code, state, counted, error].filter(Boolean).join(", ");
}

// The drawn line: [{name, kind, ms, lost, handedOver, open}], where `ms` is known. An attempt lasts until the commit, a
// lost one at most until the next one; what is `open` has lasted so long by `now`, the server's.
export function segments(entries, now) {
  const stages = entries.filter(({ kind }) => ["received", "accepted", "attempt", "committed"].includes(kind));
  const drawn = [];
  stages.forEach((entry, index) => {
    const next = stages[index + 1];
    const open = !next;
    const until = open ? now : next.at;
    const ms = entry.at && until ? Math.max(0, new Date(until) - new Date(entry.at)) : null;
    if (entry.kind === "received") drawn.push({ kind: "accept", name: "Accepting", ms, open });
    if (entry.kind === "accepted") drawn.push({ kind: "wait", name: "Waiting", ms, open });
    const { attempt, lost, handedOver } = entry;
    if (entry.kind === "attempt") drawn.push({ kind: "run", name: `Attempt ${attempt}`, ms, lost, handedOver, open });
  });
  const first = (kind) => entries.find((entry) => entry.kind === kind);
  drawn.push({ kind: "deliver", name: "Delivering", ms: first("delivered")?.ms ?? null });
  drawn.push({ kind: "acknowledge", name: "Acknowledging", ms: first("acknowledged")?.ms ?? null });
  return drawn.filter(({ ms }) => ms !== null);
}

export function segmentWords({ name, ms, lost, handedOver, open }) {
  if (handedOver) return `${name}, handed over within ${lengthWords(ms)}`;
  if (lost) return `${name}, lost within ${lengthWords(ms)}`;
  return `${name} ${lengthWords(ms)}${open ? " so far" : ""}`;
}

// The stages of every turn, and the moment of each: undefined: not reached, null: reached, not known when.
export function stages(turn) {
  const moment = (kind) => {
    const found = turn.entries.find((entry) => entry.kind === kind);
    return found && (found.at ?? null);
  };
  return [
    ["Received", moment("received")],
    ["Accepted", moment("accepted")],
    ["Running", moment("attempt")],
    ["Committed", moment("committed")],
    ["Delivered", moment("delivered")],
    ["Acknowledged", moment("acknowledged")],
  ];
}
