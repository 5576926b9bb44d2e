// The threads: search, open, name, delete; and what belongs to the page as a whole.

import { bin, cross, half, keys, lens, moon, pencil, plus, ring, sun } from "./icons.js";
import { Button, html, useEffect, useLayoutEffect, useRef, useState } from "./ui.js";
import { byDay } from "../model/threads.js";

const THEMES = { auto: half, light: sun, dark: moon };
const STATES = { busy: "Being answered", waiting: "Waits for your answer" };

export function Sidebar({ page, search }) {
  const { threads, drawer, narrow } = page;
  return html`<nav class="sidebar" aria-label="Conversations" data-open=${drawer} inert=${narrow && !drawer}>
    <div class="brand">
      ${ring}<span>Unbroken</span>
      ${narrow && html`<${Button} icon=${cross} label="Close the list" onClick=${() => page.toggleDrawer(false)} />`}
    </div>
    <${Button} kind="new" icon=${plus} onClick=${() => page.begin()}>New conversation<//>
    ${threads.state !== "absent" && html`<${Search} threads=${threads} field=${search} />`}
    <div class="list" tabindex="-1"><${List} page=${page} /></div>
    <div class="foot">
      <span class="who">${page.me.userId ?? ""}</span>
      <${Button} icon=${keys} label="Keyboard shortcuts" onClick=${() => page.ask("shortcuts")} />
      <${Button} icon=${THEMES[page.theme]} label=${`Colours: ${page.theme}`} onClick=${() => page.nextTheme()} />
    </div>
  </nav>`;
}

function Search({ threads, field }) {
  const [text, setText] = useState(threads.query);
  useEffect(() => {
    if (text === threads.query) return undefined;
    const timer = setTimeout(() => threads.search(text), 200);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<label class="search">
    ${lens}
    <input
      ref=${field}
      type="search"
      aria-label="Search conversations"
      placeholder="Search"
      value=${text}
      onInput=${(event) => setText(event.target.value)}
    />
  </label>`;
}

function List({ page }) {
  const { threads } = page;
  if (threads.state === "failed") {
    return html`<p class="nothing">
      The list cannot be read. <${Button} kind="link" onClick=${() => threads.load()}>Try again<//>
    </p>`;
  }
  if (!threads.items.length && threads.state !== "loading") {
    return html`<p class="nothing">${threads.query ? "Nothing found." : "Your conversations will be listed here."}</p>`;
  }
  return html`
    ${byDay(threads.items).map(
      ([heading, group]) => html`<section key=${heading} aria-label=${heading}>
        <h2>${heading}</h2>
        <ul>
          ${group.map((thread) => html`<${Item} key=${thread.threadId} thread=${thread} page=${page} />`)}
        </ul>
      </section>`,
    )}
    ${threads.before && html`<${Button} kind="link" onClick=${() => threads.more()}>Older conversations<//>`}
  `;
}

function Item({ thread, page }) {
  const [naming, setNaming] = useState(false);
  const { threadId, agentId, status } = thread;
  const open = threadId === page.session.threadId;
  const title = thread.title || "New conversation";
  if (naming) return html`<li><${Name} thread=${thread} page=${page} done=${() => setNaming(false)} /></li>`;
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    page.open(threadId, agentId);
  };
  const unread = !open && thread.cursor > thread.acked;
  return html`<li class="item" data-open=${open} data-status=${status} data-unread=${unread}>
    <a
      href=${page.addressOf(threadId, agentId)}
      aria-current=${open ? "page" : undefined}
      title=${title}
      onClick=${follow}
    >
      <span class="title">${title}</span>
      ${STATES[status] && html`<span class="mark" role="img" aria-label=${STATES[status]}></span>`}
    </a>
    <${Button} icon=${pencil} label=${`Rename ${title}`} onClick=${() => setNaming(true)} />
    <${Button} icon=${bin} label=${`Delete ${title}`} onClick=${() => page.ask("delete", thread)} />
  </li>`;
}

function Name({ thread, page, done }) {
  const field = useRef(null);
  const over = useRef(false); // leaving the field saves too, also when it goes because it was saved
  useLayoutEffect(() => field.current.select(), []);
  const save = () => {
    if (over.current) return;
    over.current = true;
    const title = field.current.value.trim();
    done();
    if (title && title !== thread.title) page.rename(thread, title);
  };
  const press = (event) => {
    if (event.key === "Enter") save();
    if (event.key === "Escape") {
      event.stopPropagation();
      over.current = true;
      done();
    }
  };
  return html`<input
    class="field"
    ref=${field}
    aria-label="Name of the conversation"
    maxlength="200"
    value=${thread.title}
    onBlur=${save}
    onKeyDown=${press}
  />`;
}
