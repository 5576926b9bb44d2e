// The server's REST side: who is here, the threads, their files. No DOM, no state.

export class Refusal extends Error {
  // `status` 0: there was no answer at all.
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class Api {
  #base;
  #userId;

  // `base`: the server's address; `userId`: who is talking, where the server believes it (no authentication).
  constructor(base, userId = null) {
    this.#base = base;
    this.#userId = userId;
    this.signedOut = () => {};
  }

  url(path, query = {}) {
    const url = new URL(path, this.#base);
    for (const [name, value] of Object.entries({ ...query, userId: this.#userId })) {
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
    }
    return url;
  }

  socketUrl(query) {
    const url = this.url("api/chat/ws", query);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url;
  }

  me() {
    return this.#ask("GET", this.url("api/me"));
  }

  threads({ query, before, limit = 50 } = {}) {
    return this.#ask("GET", this.url("api/threads", { query, before, limit }));
  }

  create(threadId, agentId) {
    return this.#ask("POST", this.url("api/threads"), { threadId, ...(agentId && { agentId }) });
  }

  rename(threadId, title) {
    return this.#ask("PATCH", this.url(thread(threadId)), { title });
  }

  remove(threadId) {
    return this.#ask("DELETE", this.url(thread(threadId)));
  }

  messages(threadId, query) {
    return this.#ask("GET", this.url(`${thread(threadId)}/messages`, query));
  }

  timeline(key, query) {
    return this.#ask("GET", this.url(`${session(key)}/timeline`, query));
  }

  checkpoint(key, checkpointId, ns) {
    return this.#ask("GET", this.url(`${session(key)}/checkpoints/${encodeURIComponent(checkpointId)}`, { ns }));
  }

  retryEffect(key, effectId) {
    return this.#ask("POST", this.url(`${session(key)}/effects/${encodeURIComponent(effectId)}/retry`));
  }

  fileUrl(threadId, fileId) {
    return this.url(`${thread(threadId)}/files/${encodeURIComponent(fileId)}`).href;
  }

  // `progress` is called with the part sent so far, 0 to 1. XMLHttpRequest, because fetch does not tell it.
  upload(threadId, file, progress) {
    const request = new XMLHttpRequest();
    const done = new Promise((resolve, reject) => {
      request.open("POST", this.url(`${thread(threadId)}/files`, { name: file.name }));
      request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
      request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
      request.onload = () => {
        if (request.status === 201) resolve(JSON.parse(request.responseText));
        else reject(this.#refusal(request.status, request.responseText));
      };
      request.onerror = () => reject(new Refusal(0, "offline", "there is no connection to the server"));
      request.onabort = () => reject(new Refusal(0, "aborted", "taken back"));
      request.send(file);
    });
    return { done, abort: () => request.abort() };
  }

  async #ask(method, url, body) {
    let answer;
    try {
      const json = body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
      answer = await fetch(url, { method, ...json });
    } catch {
      throw new Refusal(0, "offline", "there is no connection to the server");
    }
    if (!answer.ok) throw this.#refusal(answer.status, await answer.text());
    return answer.status === 204 ? null : answer.json();
  }

  #refusal(status, text) {
    if (status === 401) this.signedOut();
    try {
      const { code, message } = JSON.parse(text).error;
      return new Refusal(status, code, message);
    } catch {
      return new Refusal(status, `http_${status}`, `the server answered ${status}`);
    }
  }
}

// `key`: userId:agentId:threadId, each part percent-encoded; in an address the whole is encoded once more.
function session(key) {
  return `api/sessions/${encodeURIComponent(key)}`;
}

function thread(threadId) {
  return `api/threads/${encodeURIComponent(threadId)}`;
}
