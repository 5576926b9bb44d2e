// What was said and has no receipt yet, kept where it outlives a reload, a crash and the closing of the browser.
//
// One entry a request: tabs of the same thread never overwrite each other's, and sending one twice is harmless,
// because its request id is kept with it.

export class Outbox {
  #storage;
  #prefix;
  #kept = new Map();

  // `storage`: null where the browser gives none; then nothing outlives anything.
  constructor(storage, owner, threadId) {
    this.#storage = storage;
    this.#prefix = `unbroken.outbox/${owner}/${threadId}/`;
  }

  // Frames in the order in which they were kept.
  recall() {
    if (!this.#storage) return [];
    const entries = [];
    for (let index = 0; index < this.#storage.length; index += 1) {
      const key = this.#storage.key(index);
      if (!key.startsWith(this.#prefix)) continue;
      const entry = parsed(this.#storage.getItem(key));
      if (entry) entries.push(entry);
    }
    entries.sort((one, other) => one.at - other.at);
    for (const { frame } of entries) this.#kept.set(frame.requestId, frame);
    return entries.map(({ frame }) => frame);
  }

  // `frames`: everything that has no receipt now.
  keep(frames) {
    const unsent = new Map(frames.map((frame) => [frame.requestId, frame]));
    for (const [requestId, frame] of unsent) {
      if (this.#kept.has(requestId)) continue;
      this.#kept.set(requestId, frame);
      this.#write(requestId, JSON.stringify({ at: Date.now(), frame }));
    }
    for (const requestId of this.#kept.keys()) {
      if (unsent.has(requestId)) continue;
      this.#kept.delete(requestId);
      this.#storage?.removeItem(this.#prefix + requestId);
    }
  }

  #write(requestId, text) {
    try {
      this.#storage?.setItem(this.#prefix + requestId, text);
    } catch {
      // The storage is full: then it does not outlive the tab.
    }
  }
}

function parsed(text) {
  try {
    const entry = JSON.parse(text);
    return typeof entry.frame.requestId === "string" ? entry : null;
  } catch {
    return null;
  }
}
