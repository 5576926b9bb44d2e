// What the server knows of one turn, read again while it may still change. No DOM.

const AGAIN_MS = 1_500; // marks of delivery are written once a second
const NOTHING = "Nothing is stored of this yet.";
const LOOKS = 20; // after the last change seen: who never acknowledges is not waited for

export class Inspector {
  #api;
  #changed;
  #timer = null;
  #looks = 0;
  #seen = "";

  // `changed` is called whenever anything shown may have changed.
  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
    this.requestId = null; // of the turn that is looked at; null: closed
    this.turn = null; // as the server tells it
    this.now = null; // by its clock, when it told of it
    this.trouble = "";
    this.contents = new Map(); // checkpoint id → {values, pending}, or {trouble}; null: on its way
    this.retried = new Map(); // effect id → "", or what went wrong
  }

  get open() {
    return this.requestId !== null;
  }

  look(key, requestId) {
    this.close();
    this.key = key;
    this.requestId = requestId;
    this.again();
  }

  close() {
    clearTimeout(this.#timer);
    Object.assign(this, { requestId: null, turn: null, trouble: "" });
    this.contents = new Map();
    this.retried = new Map();
    this.#changed();
  }

  // The turn has moved: look now, and for a while.
  again() {
    this.#looks = 0;
    clearTimeout(this.#timer);
    if (this.open) this.#read();
  }

  async #read() {
    const { key, requestId } = this;
    const same = () => key === this.key && requestId === this.requestId;
    try {
      const { turns, now: told } = await this.#api.timeline(key, { requestId, limit: 1 });
      if (!same()) return;
      this.turn = turns[0] ?? null;
      this.now = told;
      this.trouble = this.turn ? "" : NOTHING;
    } catch (error) {
      if (!same()) return;
      this.trouble = error.status === 404 ? NOTHING : `This could not be read: ${error.message}.`;
    }
    const now = JSON.stringify(this.turn);
    this.#looks = now === this.#seen ? this.#looks + 1 : 0;
    this.#seen = now;
    this.#changed();
    clearTimeout(this.#timer);
    if (!settled(this.turn) && this.#looks < LOOKS) this.#timer = setTimeout(() => this.#read(), AGAIN_MS);
  }

  // Shown, or put away again.
  async toggle({ checkpointId, checkpointNs }) {
    if (this.contents.delete(checkpointId)) {
      this.#changed();
      return;
    }
    const { contents } = this;
    contents.set(checkpointId, null);
    this.#changed();
    try {
      contents.set(checkpointId, await this.#api.checkpoint(this.key, checkpointId, checkpointNs));
    } catch (error) {
      const trouble = error.status === 404 ? "It was pruned meanwhile." : `It could not be read: ${error.message}.`;
      contents.set(checkpointId, { trouble });
    }
    this.#changed();
  }

  async retry({ effectId }) {
    const { retried } = this;
    try {
      await this.#api.retryEffect(this.key, effectId);
      retried.set(effectId, "");
    } catch (error) {
      retried.set(effectId, `It was not tried again: ${error.message}.`);
    }
    this.again();
  }
}

// Nothing more comes: everything that clients see is acknowledged, everything else is done or given up.
function settled(turn) {
  const effects = turn?.entries.filter(({ kind }) => kind === "effect") ?? [];
  return effects.length > 0 && effects.every(({ status }) => status === "completed" || status === "failed");
}
