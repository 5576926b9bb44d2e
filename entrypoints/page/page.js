// The page itself: what is typed goes to the conversation, what the conversation holds is drawn.

import { Conversation } from "./reducer.js";
import { Connection } from "./socket.js";
import { TurnView } from "./turn_view.js";

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const threadId = parameters.get("threadId") || newId();
const agentId = parameters.get("agentId");
const UNSENT = `unbroken.unsent.${threadId}`;

const conversation = new Conversation(0);
const views = new Map();
let connection = null;
let drawing = false;

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function address(thread) {
  const query = new URLSearchParams(parameters);
  query.set("threadId", thread);
  return `?${query}`;
}

function changed() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  const following = atBottom();
  drawTurns();
  drawConnection();
  $("empty").hidden = conversation.turns.length > 0 || connection.status !== "connected";
  const { notice } = conversation;
  $("notice").hidden = !notice && !connection.historyTrouble;
  $("notice").textContent = notice ? `${notice.message} (${notice.code})` : connection.historyTrouble;
  document.body.dataset.cursor = conversation.cursor;
  if (following) scrollTo({ top: document.documentElement.scrollHeight });
  keepUnsent();
}

function drawTurns() {
  const list = $("turns");
  const connected = connection.status === "connected";
  for (const [requestId, view] of views) {
    if (conversation.turn(requestId)) continue;
    view.element.remove();
    views.delete(requestId);
  }
  conversation.turns.forEach((turn, index) => {
    if (!views.has(turn.requestId)) views.set(turn.requestId, new TurnView(turn.requestId));
    const view = views.get(turn.requestId);
    view.draw(turn, connected);
    if (list.children[index] !== view.element) list.insertBefore(view.element, list.children[index] ?? null);
  });
  drawMissing();
}

// Where log entries are missing, a button that reads some of them.
function drawMissing() {
  $("earlier")?.remove();
  const { missing } = conversation;
  if (!missing) return;
  const button = document.createElement("button");
  button.id = "earlier";
  button.type = "button";
  button.textContent = "Earlier messages";
  button.onclick = () => connection.readHistory();
  const next = conversation.turns.find((turn) => turn.cursor === null || turn.cursor > missing.until);
  const place = next && views.get(next.requestId).element;
  if (place) place.prepend(button);
  else $("turns").before(button);
}

function drawConnection() {
  const words = {
    connecting: "Connecting…",
    connected: "Connected",
    waiting: navigator.onLine ? "No connection; trying again…" : "You are offline",
    closed: connection.why,
  };
  document.body.dataset.connection = connection.status;
  if ($("words").textContent !== words[connection.status]) $("words").textContent = words[connection.status];
  $("connection").title = connection.why;
  $("content").disabled = connection.status === "closed";
}

function atBottom() {
  const page = document.documentElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < 120;
}

// What was typed and not yet accepted outlives a reload of the page.
function keepUnsent() {
  const frames = conversation.unsent().filter(({ type }) => type === "message");
  try {
    if (frames.length) sessionStorage.setItem(UNSENT, JSON.stringify(frames));
    else sessionStorage.removeItem(UNSENT);
  } catch {
    // No storage: then it does not outlive it.
  }
}

function recallUnsent() {
  try {
    for (const { requestId, content } of JSON.parse(sessionStorage.getItem(UNSENT) ?? "[]")) {
      conversation.send(requestId, content);
    }
  } catch {
    // No storage.
  }
}

function say(event) {
  event.preventDefault();
  const box = $("content");
  if (!box.value.trim()) return;
  connection.send(conversation.send(newId(), box.value));
  box.value = "";
  grow(box);
  keepUnsent();
  requestAnimationFrame(() => scrollTo({ top: document.documentElement.scrollHeight }));
}

function grow(box) {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 240)}px`;
}

history.replaceState(null, "", address(threadId));
$("agent").textContent = agentId ? `Agent ${agentId}` : "Default agent";
$("thread").textContent = `Thread ${threadId.length > 12 ? `${threadId.slice(0, 8)}…` : threadId}`;
$("new").onclick = () => location.assign(address(newId()));
$("compose").onsubmit = say;
$("content").oninput = () => grow($("content"));
$("content").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) say(event);
};
recallUnsent();
connection = new Connection(
  conversation,
  new URL(".", location.href),
  { threadId, agentId, userId: parameters.get("userId") },
  changed,
);
addEventListener("online", () => connection.hurry());
addEventListener("offline", changed);
document.addEventListener("visibilitychange", () => document.hidden || connection.hurry());
