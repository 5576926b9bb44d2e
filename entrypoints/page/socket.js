// The page's connection: keeps a conversation true through lost sockets, restarts and refusals for now. No DOM.
//
// The twin of entrypoints/client/connection.py.

const ACK_MS = 1_000;
const RESEND_MS = 10_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
const CALM_MS = 5_000;

// Close codes after which to come back at once, or never; after any other, with backoff (docs/protocol.md).
export const NOW = new Set([1006, 1012]);
export const NEVER = new Map([
  [1000, "The server ended the connection."],
  [1007, "The server did not understand this page. Reload it."],
  [1009, "A message was too large for the server. Reload the page to go on."],
  [4400, "The server does not understand the address of this page."],
  [4401, "Your session has ended. Sign in again."],
  [4403, "This conversation is not yours, or it was deleted."],
  [4404, "The server does not have this agent."],
]);

export class Connection {
  #conversation;
  #api;
  #query;
  #changed;
  #socket = null;
  #failures = 0;
  #openedAt = 0;
  #acked = 0;
  #sentAt = 0;
  #resendAt = null;
  #timer = null;
  #keeping = null;
  #leaving = false;
  #readingHistory = false;

  // `query`: threadId, agentId; `changed` is called whenever anything shown may have changed.
  constructor(conversation, api, query, changed) {
    this.#conversation = conversation;
    this.#api = api;
    this.#query = query;
    this.#changed = changed;
    this.status = "idle"; // idle, connecting, connected, waiting or closed
    this.why = ""; // in words
    this.code = null; // of the last close
    this.retryAt = null; // milliseconds since the epoch, while waiting
    this.historyTrouble = "";
  }

  open() {
    this.#leaving = false;
    if (this.status !== "idle") return;
    this.#keeping = setInterval(() => this.#keepUp(), ACK_MS);
    this.#connect();
  }

  // Nobody looks any more: end it, but not before everything said has its receipt.
  leave() {
    this.#leaving = true;
    this.#leaveIfDone();
  }

  send(frame) {
    this.#sentAt = Date.now();
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
    this.#changed();
  }

  // There is a reason to expect success: the network is back, or somebody looks.
  hurry() {
    if (this.status !== "waiting") return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  // What was presented counts as read; once a second is enough, and once more when nobody looks any longer.
  acknowledge() {
    const { cursor } = this.#conversation;
    if (this.status !== "connected" || cursor === null || cursor <= this.#acked) return;
    this.#acked = cursor;
    this.#socket.send(JSON.stringify({ type: "ack", cursor }));
  }

  // One page of what is missing, the newest first.
  async readHistory() {
    const { missing } = this.#conversation;
    if (!missing || this.#readingHistory) return;
    this.#readingHistory = true;
    this.historyTrouble = "";
    try {
      const page = await this.#api.messages(this.#query.threadId, { before: missing.until + 1, limit: 50 });
      this.#conversation.history(page);
    } catch (error) {
      this.historyTrouble = `Earlier messages cannot be read: ${error.message}.`;
    } finally {
      this.#readingHistory = false;
      this.#changed();
    }
  }

  #connect() {
    const socket = new WebSocket(this.#api.socketUrl({ ...this.#query, ...this.#conversation.resume() }));
    this.#tell("connecting", this.why);
    this.#openedAt = 0;
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(socket, JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(socket, code, reason);
  }

  #opened() {
    this.#openedAt = Date.now();
    this.#acked = this.#conversation.cursor ?? 0;
    this.#conversation.connected();
    this.#tell("connected", "");
    this.#sendUnsent();
  }

  #received(socket, frame) {
    if (socket !== this.#socket) return;
    const conversation = this.#conversation;
    const gap = conversation.missing;
    conversation.apply(frame);
    if (frame.type === "error" && frame.retryable && !("cursor" in frame)) this.#resendAt = Date.now() + ACK_MS;
    if (conversation.missing && conversation.missing !== gap) this.readHistory();
    this.#changed();
    if (conversation.reconnect) this.#again(1006, "the view is made good");
    else this.#leaveIfDone();
  }

  #closed(socket, code, reason) {
    if (socket !== this.#socket) return;
    this.#again(code, reason || "the connection was lost");
  }

  #again(code, why) {
    const socket = this.#socket;
    this.#socket = null;
    socket.close();
    this.code = code;
    if (NEVER.has(code)) {
      clearInterval(this.#keeping);
      this.#tell("closed", why);
      return;
    }
    if (this.#openedAt && Date.now() - this.#openedAt >= CALM_MS) this.#failures = 0;
    const atOnce = this.#failures === 0 && this.#openedAt && NOW.has(code);
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#failures, 16));
    const pause = atOnce ? 0 : longest * (1 - Math.random() / 2);
    this.#failures += 1;
    this.retryAt = Date.now() + pause;
    this.#tell("waiting", why);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #sendUnsent() {
    this.#resendAt = null;
    for (const frame of this.#conversation.unsent()) this.send(frame);
  }

  // Acknowledge now and then, and send again what got no receipt.
  #keepUp() {
    if (this.status !== "connected") return;
    this.acknowledge();
    const due = this.#resendAt !== null && Date.now() >= this.#resendAt;
    if (due || Date.now() - this.#sentAt > RESEND_MS) this.#sendUnsent();
  }

  #leaveIfDone() {
    if (!this.#leaving || this.#conversation.unsent().length || this.status === "closed") return;
    this.acknowledge();
    clearInterval(this.#keeping);
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#tell("idle", "");
  }

  #tell(status, why) {
    this.status = status;
    this.why = why;
    if (status !== "waiting") this.retryAt = null;
    this.#changed();
  }
}
