// Files on their way to the server, and those that wait to be sent with the next message.

import { newId } from "./ids.js";

export class Attachments {
  #api;
  #threadId;
  #agentId;
  #changed;
  #thread = null; // a promise: the server has the thread that the files belong to

  constructor(api, threadId, agentId, changed) {
    this.#api = api;
    this.#threadId = threadId;
    this.#agentId = agentId;
    this.#changed = changed;
    this.items = []; // {id, name, type, size, progress (0 to 1), fileId (once it is stored), error}
  }

  get uploading() {
    return this.items.some(({ fileId, error }) => !fileId && !error);
  }

  get stored() {
    return this.items.filter(({ fileId }) => fileId);
  }

  // `limit`: in bytes; null: the server says.
  add(files, limit = null) {
    for (const file of files) {
      const { name, type, size } = file;
      const item = { id: newId(), file, name: name || "file", type, size, progress: 0, fileId: null, error: null };
      this.items.push(item);
      if (limit !== null && size > limit) item.error = `larger than ${readableSize(limit)}`;
      else this.#upload(item);
    }
    this.#changed();
  }

  again(item) {
    item.error = null;
    this.#upload(item);
  }

  remove(item) {
    item.abort?.();
    this.items = this.items.filter((other) => other !== item);
    this.#changed();
  }

  clear() {
    this.items = this.items.filter(({ fileId }) => !fileId);
    this.#changed();
  }

  // A message's content: the text alone, or blocks with the files after it.
  contentWith(text) {
    const files = this.stored.map(({ fileId, type, name, size }) => ({
      type: kindOf(type),
      file_id: fileId,
      mime_type: type,
      extras: { name, size },
    }));
    if (!files.length) return text;
    return text ? [{ type: "text", text }, ...files] : files;
  }

  async #upload(item) {
    this.#changed();
    try {
      this.#thread ??= this.#api.create(this.#threadId, this.#agentId);
      await this.#thread;
      const { done, abort } = this.#api.upload(this.#threadId, item.file, (progress) => {
        item.progress = progress;
        this.#changed();
      });
      item.abort = abort;
      const stored = await done;
      Object.assign(item, { fileId: stored.fileId, type: stored.mimeType, name: stored.name, progress: 1 });
    } catch (error) {
      this.#thread = null;
      item.error = error.message;
    }
    this.#changed();
  }
}

export function kindOf(mimeType) {
  const kind = mimeType.split("/")[0];
  return kind === "image" || kind === "audio" ? kind : "file";
}

export function readableSize(bytes) {
  if (bytes < 1_000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${Math.round(bytes / 1_000)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
