// A message of one's own, being written anew.

import { Button, html, useLayoutEffect, useRef, useState } from "./ui.js";
import { textOf } from "../turn.js";

export function Editor({ turn, page }) {
  const { content } = turn.said;
  const [text, setText] = useState(textOf(content));
  const box = useRef(null);
  // Before the browser paints: a key that comes at once must find the cursor where it stays.
  useLayoutEffect(() => {
    box.current.focus();
    box.current.setSelectionRange(text.length, text.length);
  }, []);
  const submit = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    const files = typeof content === "string" ? [] : content.filter(({ type }) => type !== "text");
    page.replace(turn, files.length ? [{ type: "text", text: text.trim() }, ...files] : text.trim());
  };
  const press = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    if (event.key === "Escape") {
      event.stopPropagation();
      page.edit(null);
    }
  };
  return html`<form class="editor" onSubmit=${submit}>
    <textarea
      ref=${box}
      aria-label="Edit your message"
      rows=${Math.min(12, text.split("\n").length + 1)}
      value=${text}
      onInput=${(event) => setText(event.target.value)}
      onKeyDown=${press}
    ></textarea>
    <p class="hint">What was said after it is left behind.</p>
    <${Button} kind="choice" onClick=${() => page.edit(null)}>Cancel<//>
    <${Button} kind="primary" type="submit" disabled=${!text.trim()}>Send<//>
  </form>`;
}
