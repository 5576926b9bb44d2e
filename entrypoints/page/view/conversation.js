// The turns of the open thread, and where the reader stands among them.

import { down, ring } from "./icons.js";
import { TurnView } from "./turn_view.js";
import { Button, Component, html } from "./ui.js";
import { formOf } from "../text/question_form.js";
import { endWords } from "../text/words.js";

const NEAR_PX = 80;
const LONGEST_SAID = 4_000;

export class ConversationView extends Component {
  #told = new Map(); // request id → what was drawn of its turn, and so needs no telling
  #restarted = new Set(); // requests whose shown text was taken back
  #shown = new Map(); // request id → [attempt, length]
  #session = null;
  #following = true;

  constructor(props) {
    super(props);
    this.state = { away: false };
  }

  componentDidMount() {
    this.#keepPlace();
    this.#heard = new ResizeObserver(() => this.#keepPlace());
    this.#heard.observe(this.list);
  }

  componentWillUnmount() {
    this.#heard.disconnect();
  }

  #heard = null;

  componentDidUpdate() {
    this.#tellEnds();
    this.#keepPlace();
  }

  // A thread that is opened, and whoever has just said something, is at its end.
  toEnd() {
    this.#following = true;
    this.#keepPlace();
  }

  #keepPlace() {
    if (this.#following) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.state.away === this.#following) this.setState({ away: !this.#following });
  }

  // Screen readers hear of an answer once, when it is whole; what was there when the thread was opened is silent.
  #tellEnds() {
    const { session, tell } = this.props.page;
    const same = session === this.#session;
    const words = [];
    for (const turn of session.conversation.branch()) {
      // A turn of ours may end before it was ever drawn; others that appear at their end are the past.
      const before = this.#told.get(turn.requestId) ?? (turn.own ? { phase: "unsent", asked: 0 } : null);
      if (!same || !before) continue;
      if (before.phase !== turn.phase && (turn.ended || turn.refused)) words.push(endWords(turn));
      const asks = turn.questions.slice(before.asked).filter(({ outcome }) => outcome === null);
      words.push(...asks.map(({ value }) => `The agent asks: ${formOf(value).prompt}`));
    }
    this.#session = session;
    const told = ({ requestId, phase, questions }) => [requestId, { phase, asked: questions.length }];
    this.#told = new Map(session.conversation.turns.map(told));
    const said = words.filter(Boolean).join(" ");
    if (said) tell(said.slice(0, LONGEST_SAID));
  }

  #begunAgain({ requestId, attempt, text, ended }) {
    const [shownAttempt, length] = this.#shown.get(requestId) ?? [attempt, 0];
    if (attempt > shownAttempt && length && !ended) this.#restarted.add(requestId);
    this.#shown.set(requestId, [attempt, text.length]);
    return this.#restarted.has(requestId);
  }

  render({ page }) {
    const { session } = page;
    if (session !== this.#session) {
      this.#following = true;
      this.#shown.clear();
    }
    const turns = session.conversation.branch();
    const connected = session.connection.status === "connected";
    const responses = new Map();
    for (const turn of session.conversation.turns) {
      if (turn.said.interruptId !== undefined && !turn.refused) responses.set(turn.said.interruptId, turn);
    }
    const last = turns.at(-1);
    return html`<div class="scroller" ref=${(element) => {
      this.scroller = element;
    }} onScroll=${() => this.#scrolled()} tabindex="-1">
      <div class="column" ref=${(element) => {
        this.list = element;
      }}>
        <${Earlier} session=${session} />
        ${!turns.length && html`<${Empty} page=${page} />`}
        <ol class="turns" aria-label="Conversation">
          ${turns.map(
            (turn) => html`<${TurnView}
              key=${turn.requestId}
              turn=${turn}
              page=${page}
              connected=${connected}
              editing=${page.editing === turn.requestId}
              begunAgain=${this.#begunAgain(turn)}
              responses=${responses}
              last=${turn === last}
              inspected=${page.inspector.requestId === turn.requestId}
            />`,
          )}
        </ol>
      </div>
      ${
        this.state.away &&
        html`<${Button} kind="latest round" icon=${down} label="To the end" onClick=${() => this.toEnd()} />`
      }
    </div>`;
  }
}

// Where log entries are missing, a button that reads some of them.
function Earlier({ session }) {
  const { conversation, connection } = session;
  if (!conversation.missing) return null;
  return html`<div class="earlier">
    ${connection.historyTrouble && html`<p role="alert">${connection.historyTrouble}</p>`}
    <${Button} kind="choice" onClick=${() => connection.readHistory()}>Earlier messages<//>
  </div>`;
}

function Empty({ page }) {
  const { status } = page.session.connection;
  if (status === "connecting" || status === "idle" || page.closed) return null;
  return html`<div class="empty">
    ${ring}
    <p class="greeting">What would you like to talk about?</p>
    <p>Once a message is accepted it is answered, even if this page, the network or the server goes away meanwhile.</p>
  </div>`;
}
