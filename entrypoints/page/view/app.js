// The page as a whole: what its views may do, and what the keyboard does wherever one is.

import { Composer } from "./composer.js";
import { ConversationView } from "./conversation.js";
import { Dialogs } from "./dialogs.js";
import { Header } from "./header.js";
import { InspectorView } from "./inspector_view.js";
import { Sidebar } from "./sidebar.js";
import { Button, Component, html, isWriting } from "./ui.js";
import { cross } from "./icons.js";
import { nextTheme, theme } from "../theme.js";
import { failureWords } from "../text/words.js";

const NARROW = matchMedia("(max-width: 52rem)");
const TOUCH = matchMedia("(pointer: coarse)");

export class App extends Component {
  #box = { current: null };
  #search = { current: null };
  #seenNotice = null;
  #trouble = ""; // something done here that failed

  constructor(props) {
    super(props);
    this.model = props.model;
    this.editing = null;
    this.drawer = false;
    this.asked = null;
    this.fileUrl = (fileId) => this.model.api.fileUrl(this.session.threadId, fileId);
    this.tell = (words) => {
      this.announcer.textContent = words;
    };
  }

  componentDidMount() {
    document.addEventListener("keydown", (event) => this.#press(event));
    NARROW.addEventListener("change", () => this.forceUpdate());
    this.#write();
  }

  componentDidUpdate() {
    document.title = this.title ? `${this.title} · Unbroken` : "Unbroken";
  }

  // What the views read.

  get session() {
    return this.model.session;
  }
  get threads() {
    return this.model.threads;
  }
  get me() {
    return this.model.me;
  }
  get inspector() {
    return this.model.inspector;
  }
  get title() {
    return this.model.title;
  }
  get agentName() {
    return this.model.agentName;
  }
  get closed() {
    return this.session.connection.status === "closed";
  }
  get narrow() {
    return NARROW.matches;
  }
  get theme() {
    return theme();
  }

  addressOf(threadId, agentId) {
    return this.model.address(threadId, agentId);
  }

  // What the views do.

  open(threadId, agentId) {
    this.model.open(threadId, agentId);
    this.#settle();
  }

  begin() {
    this.model.begin();
    this.#settle();
  }

  choose(agentId) {
    this.model.choose(agentId);
  }

  say() {
    this.session.say();
    this.conversation.toEnd();
  }

  stop() {
    const turn = this.session.stoppable;
    if (turn) this.session.stop(turn);
    this.#box.current.focus();
  }

  // `turn`: the one whose message is to be written anew; null: none.
  edit(turn) {
    this.editing = turn?.requestId ?? null;
    this.forceUpdate();
    if (!turn) this.#box.current.focus();
  }

  editLast(event) {
    const mine = this.session.conversation
      .branch()
      .filter(({ accepted, said }) => accepted && said.content !== undefined);
    if (!mine.length) return;
    event.preventDefault();
    this.edit(mine.at(-1));
  }

  replace(turn, content) {
    this.editing = null;
    this.session.replace(turn, content);
    this.conversation.toEnd();
    this.#box.current.focus();
  }

  // Back into the box, unless something else is being written there.
  takeBack(turn) {
    const { content } = turn.said;
    this.session.discard(turn);
    if (typeof content === "string" && !this.session.draft) this.session.write(content);
    this.#box.current.focus();
  }

  attach(files) {
    this.session.attachments.add(files, this.me.limits.fileBytes ?? null);
  }

  ask(what, about) {
    this.asked = what && { what, about };
    this.forceUpdate();
  }

  async remove(thread) {
    this.ask(null);
    await this.#try(() => this.model.remove(thread.threadId), "This conversation was not deleted");
    this.tell("Deleted");
    this.#box.current.focus();
  }

  rename(thread, title) {
    return this.#try(() => this.model.rename(thread.threadId, title), "The name was not changed");
  }

  // `requestId` null: no longer; the focus goes back to where it was asked for.
  inspect(requestId) {
    const before = this.inspector.requestId;
    this.model.inspect(requestId);
    if (requestId !== null) return;
    requestAnimationFrame(() => {
      const turn = document.querySelector(`.turn[data-request-id="${CSS.escape(before)}"]`);
      (turn?.querySelector('[aria-label="What happened"]') ?? this.#box.current).focus();
    });
  }

  #inspectLast() {
    const last = this.session.conversation.branch().findLast(({ accepted }) => accepted);
    if (this.inspector.open) this.inspect(null);
    else if (last) this.inspect(last.requestId);
  }

  toggleDrawer(open) {
    this.drawer = open;
    this.forceUpdate();
    const target = open ? ".sidebar .new" : ".header .button";
    requestAnimationFrame(() => document.querySelector(target)?.focus());
  }

  nextTheme() {
    nextTheme();
    this.forceUpdate();
  }

  async #try(work, what) {
    try {
      await work();
      this.#trouble = "";
    } catch (error) {
      this.#trouble = `${what}: ${error.message}.`;
    }
    this.forceUpdate();
  }

  #settle() {
    this.editing = null;
    this.drawer = false;
    this.forceUpdate();
    this.#write();
  }

  // Where a keyboard would cover half of what is to be read, nobody is made to write.
  #write() {
    if (!TOUCH.matches) this.#box.current.focus();
  }

  #press(event) {
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (document.querySelector("dialog[open]")) return;
    if (key === "escape") this.#escape();
    else if (command && key === "k") this.#take(event, () => this.#findThread());
    else if (command && event.shiftKey && key === "o") this.#take(event, () => this.begin());
    else if (isWriting(event.target) || command || event.altKey) return;
    else if (key === "/") this.#take(event, () => this.#box.current.focus());
    else if (key === "?") this.#take(event, () => this.ask("shortcuts"));
    else if (key === "i") this.#take(event, () => this.#inspectLast());
  }

  #take(event, act) {
    event.preventDefault();
    act();
  }

  #escape() {
    if (this.drawer) this.toggleDrawer(false);
    else if (this.inspector.open && !isWriting(document.activeElement)) this.inspect(null);
    else this.stop();
  }

  #findThread() {
    if (this.narrow) this.toggleDrawer(true);
    requestAnimationFrame(() => this.#search.current?.focus());
  }

  // Without this the browser would leave the page for the file.
  #drop(event) {
    event.preventDefault();
    if (!this.closed) this.attach(event.dataTransfer.files);
  }

  #dismiss() {
    this.#seenNotice = this.session.conversation.notice;
    this.#trouble = "";
    this.forceUpdate();
  }

  render() {
    return html`
      <${Sidebar} page=${this} search=${this.#search} />
      ${this.drawer && html`<div class="backdrop" onClick=${() => this.toggleDrawer(false)}></div>`}
      <div
        class="thread"
        inert=${this.narrow && (this.drawer || this.inspector.open)}
        onDragOver=${(event) => event.preventDefault()}
        onDrop=${(event) => this.#drop(event)}
      >
        <${Header} page=${this} />
        ${this.#banner()}
        <main>
          <${ConversationView} page=${this} ref=${(view) => {
            this.conversation = view;
          }} />
        </main>
        <footer><${Composer} page=${this} box=${this.#box} /></footer>
      </div>
      ${this.inspector.open && html`<${InspectorView} page=${this} />`}
      <${Dialogs} page=${this} />
      <div class="visually-hidden" aria-live="polite" ref=${(element) => {
        this.announcer = element;
      }}></div>
    `;
  }

  // What stands in the way, above the conversation.
  #banner() {
    if (this.model.signedOut) {
      return html`<div class="banner" role="alert">
        <span>Your session has ended. Sign in again.</span>
        <${Button} kind="choice" onClick=${() => location.reload()}>Reload<//>
      </div>`;
    }
    const { notice } = this.session.conversation;
    const words = this.#trouble || (notice && notice !== this.#seenNotice ? failureWords(notice) : "");
    if (!words) return null;
    return html`<div class="banner" role="alert">
      <span title=${notice ? `${notice.message} (${notice.code})` : undefined}>${words}</span>
      <${Button} icon=${cross} label="Dismiss" onClick=${() => this.#dismiss()} />
    </div>`;
  }
}
