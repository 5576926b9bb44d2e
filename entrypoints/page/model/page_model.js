// Everything the page knows: who is here, the threads, the one that is open. No DOM but the address and its history.

import { newId } from "./ids.js";
import { Inspector } from "./inspector.js";
import { ThreadSession } from "./session.js";
import { ThreadList } from "./threads.js";

const KEPT_SESSIONS = 12;
const LOOK_MS = 30_000; // how often the list is read while somebody looks: other devices do not call
const NOBODY = { userId: null, agents: [], auth: "none", limits: {} };

export class PageModel {
  #api;
  #storage;
  #changed;
  #sessions = new Map(); // the last ones that were open, by thread id
  #phases = new Map(); // of the open thread's turns, to tell the list what has moved
  #status = "idle"; // of the open thread's connection
  #channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("unbroken") : null;

  constructor(api, storage, changed) {
    this.#api = api;
    this.#storage = storage;
    this.#changed = changed;
    this.api = api;
    this.me = NOBODY;
    this.signedOut = false;
    this.threads = new ThreadList(api, () => {
      changed();
      if (this.session.connection.status === "closed") this.#turnedAway(this.session);
    });
    this.session = null;
    this.inspector = new Inspector(api, changed);
    api.signedOut = () => {
      this.signedOut = true;
      changed();
    };
    this.#channel?.addEventListener("message", () => this.threads.stir());
  }

  async start() {
    this.#openFromAddress();
    addEventListener("popstate", () => this.#openFromAddress());
    addEventListener("pagehide", () => this.session.connection.acknowledge());
    addEventListener("online", () => this.session.connection.hurry());
    addEventListener("offline", this.#changed);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      this.session.connection.hurry();
      this.threads.stir();
    });
    setInterval(() => document.hidden || this.threads.stir(), LOOK_MS);
    this.threads.load();
    await this.#learnWhoIsHere();
  }

  async #learnWhoIsHere() {
    try {
      this.me = { ...NOBODY, ...(await this.#api.me()) };
    } catch {
      // A server without it, or none at the moment: the page does without.
    }
    this.#changed();
  }

  open(threadId, agentId) {
    if (threadId !== this.session.threadId) history.pushState(null, "", this.address(threadId, agentId));
    this.#show(threadId, agentId);
  }

  // An empty thread; the server hears of it with its first message.
  begin(agentId = this.session.agentId) {
    this.open(newId(), agentId);
  }

  // Another agent for a thread in which nothing was said yet.
  choose(agentId) {
    const { threadId, draft } = this.session;
    this.#forget(threadId);
    history.replaceState(null, "", this.address(threadId, agentId));
    this.#show(threadId, agentId);
    this.session.write(draft);
  }

  async remove(threadId) {
    await this.threads.remove(threadId);
    this.#channel?.postMessage("threads");
    this.#forget(threadId);
    if (threadId === this.session.threadId) this.begin();
  }

  async rename(threadId, title) {
    await this.threads.rename(threadId, title);
    this.#channel?.postMessage("threads");
  }

  get title() {
    return this.threads.find(this.session.threadId)?.title || this.session.title;
  }

  get agentName() {
    const { agentId, threadId } = this.session;
    return this.threads.find(threadId)?.agentId ?? agentId ?? this.me.agents[0] ?? null;
  }

  // The open thread's session, as the server writes its name.
  get sessionKey() {
    return [this.me.userId, this.agentName, this.session.threadId].map(part).join(":");
  }

  // `requestId` null: no longer.
  inspect(requestId) {
    if (requestId === null) this.inspector.close();
    else this.inspector.look(this.sessionKey, requestId);
  }

  #openFromAddress() {
    const query = new URLSearchParams(location.search);
    const threadId = query.get("threadId") || newId();
    const agentId = query.get("agentId");
    history.replaceState(null, "", this.address(threadId, agentId));
    this.#show(threadId, agentId);
  }

  #show(threadId, agentId) {
    if (this.session && this.session.threadId !== threadId) this.session.leave();
    const session = this.#sessions.get(threadId) ?? this.#session(threadId, agentId);
    this.#sessions.delete(threadId);
    this.#sessions.set(threadId, session);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size > KEPT_SESSIONS) this.#forget(oldest);
    this.session = session;
    this.inspector.close();
    this.#phases = new Map();
    session.open();
    this.#changed();
  }

  #session(threadId, agentId) {
    const owner = new URLSearchParams(location.search).get("userId") ?? "";
    const changed = () => this.#moved(session);
    const session = new ThreadSession({ threadId, agentId, owner, api: this.#api, storage: this.#storage, changed });
    return session;
  }

  #forget(threadId) {
    this.#sessions.get(threadId)?.leave();
    this.#sessions.delete(threadId);
  }

  // A turn of a thread began or ended: the list shows it in its order, and what state it is in.
  #moved(session) {
    this.#changed();
    if (session !== this.session) return;
    this.#hearAgain(session.connection.status);
    if (session.connection.status === "closed") this.#turnedAway(session);
    const phases = new Map(session.conversation.turns.map(({ requestId, phase }) => [requestId, phase]));
    const told = [...phases].some(([requestId, phase]) => this.#phases.get(requestId) !== phase);
    this.#phases = phases;
    if (!told) return;
    if (phases.size) this.threads.begin(session.threadId, this.agentName, session.title);
    this.threads.stir();
    this.#channel?.postMessage("threads");
  }

  // Not signed in; or an address that names a thread without its agent, which the list may know.
  #turnedAway({ connection: { code }, threadId, agentId }) {
    if (code === 4401) this.signedOut = true;
    const known = this.threads.find(threadId)?.agentId;
    if (code === 4403 && !agentId && known && known !== this.me.agents[0]) queueMicrotask(() => this.choose(known));
  }

  // The server is back: what could not be asked is asked now.
  #hearAgain(status) {
    const back = status === "connected" && this.#status !== "connected";
    this.#status = status;
    if (!back) return;
    this.threads.stir();
    if (this.me === NOBODY) this.#learnWhoIsHere();
  }

  address(threadId, agentId) {
    const query = new URLSearchParams(location.search);
    query.set("threadId", threadId);
    if (agentId) query.set("agentId", agentId);
    else query.delete("agentId");
    return `?${query}`;
  }
}

function part(value) {
  const more = (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`; // what Python encodes besides
  return encodeURIComponent(value ?? "").replace(/[!'()*]/g, more);
}
