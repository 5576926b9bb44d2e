// Where one writes: the message, its files, the agent of a new thread, send and stop.

import { Pending } from "./attachment_view.js";
import { arrow, clip, square } from "./icons.js";
import { Button, html, useLayoutEffect, useRef } from "./ui.js";

const TALLEST_PX = 280;

export function Composer({ page, box }) {
  const { session, me, closed } = page;
  const { attachments, draft } = session;
  const files = useRef(null);
  useLayoutEffect(() => {
    const area = box.current;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, TALLEST_PX)}px`;
  }, [draft, session]);
  const tooLong = isTooLong(draft, me.limits.contentBytes);
  const submit = (event) => {
    event.preventDefault();
    if (isReady(page)) page.say();
  };
  const press = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    if (event.key === "ArrowUp" && !draft) page.editLast(event);
  };
  const paste = (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    page.attach(event.clipboardData.files);
  };
  const { stoppable } = session;
  return html`<form class="composer" aria-label="Message" onSubmit=${submit} onPaste=${paste}>
    <${Pending} attachments=${attachments} fileUrl=${page.fileUrl} />
    <label class="visually-hidden" for="content">Your message</label>
    <textarea
      id="content"
      ref=${box}
      rows="1"
      placeholder=${session.openQuestions.length ? "Answer above, or say something else" : "Write a message"}
      enterkeyhint="send"
      autocomplete="off"
      disabled=${closed}
      value=${draft}
      onInput=${(event) => session.write(event.target.value)}
      onKeyDown=${press}
    ></textarea>
    <div class="bar">
      <input
        ref=${files}
        type="file"
        multiple
        hidden
        onChange=${(event) => {
          page.attach([...event.target.files]);
          event.target.value = "";
        }}
      />
      <${Button} icon=${clip} label="Attach files" disabled=${closed} onClick=${() => files.current.click()} />
      <${AgentPicker} page=${page} />
      <span class="spacer">${tooLong && html`<span class="trouble" role="alert">This is too long to send</span>`}</span>
      ${stoppable && html`<${Button} icon=${square} kind="stop" label="Stop" onClick=${() => page.stop()} />`}
      <${Button} icon=${arrow} kind="primary round" type="submit" label="Send" disabled=${!isReady(page)} />
    </div>
  </form>`;
}

// Asked anew when Enter is pressed: what was typed a moment ago may not be drawn yet.
function isReady({ session: { attachments, draft }, me, closed }) {
  const something = draft.trim() || attachments.stored.length;
  return something && !attachments.uploading && !isTooLong(draft, me.limits.contentBytes) && !closed;
}

// `limit`: bytes of UTF-8; undefined: the server says.
function isTooLong(text, limit) {
  return limit !== undefined && text.length > limit / 4 && new Blob([text]).size > limit;
}

function AgentPicker({ page }) {
  const { me, session, agentName } = page;
  if (me.agents.length < 2 || session.conversation.turns.length) return null;
  return html`<label class="picker">
    <span class="visually-hidden">Agent</span>
    <select value=${agentName} onChange=${(event) => page.choose(event.target.value)}>
      ${me.agents.map((agent) => html`<option value=${agent} selected=${agent === agentName}>${agent}</option>`)}
    </select>
  </label>`;
}
