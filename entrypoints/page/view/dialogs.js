// What is asked before it is done, and the list of shortcuts. The browser keeps focus inside, and gives it back.

import { Button, html, useEffect, useRef } from "./ui.js";

const SHORTCUTS = [
  ["Enter", "Send"],
  ["Shift + Enter", "New line"],
  ["Esc", "Stop the answer"],
  ["↑", "Edit your last message, when nothing is written"],
  ["/", "Write a message"],
  ["I", "What happened to the last message"],
  ["Ctrl/⌘ + K", "Search conversations"],
  ["Ctrl/⌘ + Shift + O", "New conversation"],
  ["?", "This list"],
];

export function Dialogs({ page }) {
  const { asked } = page;
  if (!asked) return null;
  return asked.what === "delete"
    ? html`<${Delete} thread=${asked.about} page=${page} />`
    : html`<${Shortcuts} page=${page} />`;
}

function Dialog({ title, close, children }) {
  const element = useRef(null);
  useEffect(() => element.current.showModal(), []);
  const away = (event) => event.target === element.current && close();
  return html`<dialog ref=${element} aria-labelledby="dialog-title" onClose=${close} onClick=${away}>
    <div class="inside"><h2 id="dialog-title">${title}</h2>${children}</div>
  </dialog>`;
}

function Delete({ thread, page }) {
  const close = () => page.ask(null);
  return html`<${Dialog} title="Delete this conversation?" close=${close}>
    <p>
      “${thread.title || "New conversation"}” and its files will be gone, on every device. This cannot be undone.
    </p>
    <div class="choices">
      <${Button} kind="choice" onClick=${close}>Keep it<//>
      <${Button} kind="danger" onClick=${() => page.remove(thread)}>Delete<//>
    </div>
  <//>`;
}

function Shortcuts({ page }) {
  const close = () => page.ask(null);
  return html`<${Dialog} title="Keyboard shortcuts" close=${close}>
    <dl class="shortcuts">
      ${SHORTCUTS.map(([keys, words]) => html`<div><dt><kbd>${keys}</kbd></dt><dd>${words}</dd></div>`)}
    </dl>
    <div class="choices"><${Button} kind="choice" onClick=${close}>Close<//></div>
  <//>`;
}
