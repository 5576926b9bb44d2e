// The list of threads, as the server has it and this tab knows better for a moment.

const PAGE = 50;

export class ThreadList {
  #api;
  #changed;
  #latest = 0;
  #due = null;

  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
    this.state = "loading"; // loading, ready, absent (this server keeps no list), failed
    this.items = []; // newest activity first
    this.query = "";
    this.before = null; // there is more
  }

  find(threadId) {
    return this.items.find((thread) => thread.threadId === threadId) ?? null;
  }

  async search(query) {
    this.query = query;
    await this.load();
  }

  // The first page again, and what was read beyond it; an answer that a later question overtook is dropped.
  async load() {
    const number = (this.#latest += 1);
    try {
      const { threads, before } = await this.#api.threads({ query: this.query, limit: PAGE });
      if (number !== this.#latest) return;
      const others = this.query ? [] : this.items.filter(({ threadId }) => !has(threads, threadId));
      const local = others.filter((one) => one.local);
      const last = threads.at(-1)?.updatedAt;
      const older = before === null ? [] : others.filter((one) => !one.local && one.updatedAt < last);
      this.items = [...local, ...threads, ...older];
      if (!older.length) this.before = before;
      this.state = "ready";
    } catch (error) {
      if (number !== this.#latest) return;
      if (error.status === 404) this.state = "absent";
      else if (this.state === "loading") this.state = "failed";
    }
    this.#changed();
  }

  async more() {
    const { threads, before } = await this.#api.threads({ query: this.query, before: this.before, limit: PAGE });
    this.items = [...this.items, ...threads.filter(({ threadId }) => !has(this.items, threadId))];
    this.before = before;
    this.#changed();
  }

  // Something happened in some thread: ask soon, once for many.
  stir() {
    if (this.#due !== null || this.state === "absent") return;
    this.#due = setTimeout(() => {
      this.#due = null;
      this.load();
    }, 400);
  }

  // A thread that the server hears of with its first message.
  begin(threadId, agentId, title) {
    if (this.query || this.find(threadId)) return;
    const now = new Date().toISOString();
    this.items.unshift({ threadId, agentId, title, createdAt: now, updatedAt: now, status: "busy", local: true });
    this.#changed();
  }

  // Shown at once, and put back if the server refuses. Raises Refusal.
  async rename(threadId, title) {
    const thread = this.find(threadId);
    const before = thread.title;
    thread.title = title;
    this.#changed();
    try {
      await this.#api.rename(threadId, title);
    } catch (error) {
      thread.title = before;
      this.#changed();
      throw error;
    }
  }

  // Raises Refusal; a thread that is not there any more counts as removed.
  async remove(threadId) {
    try {
      await this.#api.remove(threadId);
    } catch (error) {
      if (error.status !== 404) throw error;
    }
    this.items = this.items.filter((thread) => thread.threadId !== threadId);
    this.#changed();
  }
}

const DAY_MS = 86_400_000;

// The list as it is read: [[heading, threads]…], by the day of the last activity in the reader's time zone.
export function byDay(threads, now = new Date()) {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const groups = new Map();
  for (const thread of threads) {
    const heading = headingOf(new Date(thread.updatedAt).getTime(), today);
    groups.set(heading, [...(groups.get(heading) ?? []), thread]);
  }
  return [...groups];
}

function headingOf(time, today) {
  if (time >= today) return "Today";
  if (time >= today - DAY_MS) return "Yesterday";
  if (time >= today - 7 * DAY_MS) return "Last 7 days";
  if (time >= today - 30 * DAY_MS) return "Last 30 days";
  return "Earlier";
}

function has(threads, threadId) {
  return threads.some((thread) => thread.threadId === threadId);
}
