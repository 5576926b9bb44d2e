// Above the conversation: its title, its agent, and the connection in words.

import { menu } from "./icons.js";
import { Button, html, useEffect, useState } from "./ui.js";
import { connectionWords } from "../text/words.js";

export function Header({ page }) {
  const { title, agentName, narrow, me } = page;
  return html`<header class="header">
    ${
      narrow &&
      html`<${Button}
      icon=${menu}
      label="Conversations"
      aria-expanded=${page.drawer}
      onClick=${() => page.toggleDrawer(true)}
    />`
    }
    <div class="heading">
      <h1 title=${title}>${title || "New conversation"}</h1>
      ${(me.agents.length > 1 || page.session.agentId) && html`<span class="agent">${agentName}</span>`}
    </div>
    <${ConnectionState} page=${page} />
  </header>`;
}

function ConnectionState({ page }) {
  const { connection, conversation } = page.session;
  const [, tick] = useState(0);
  const counting = connection.status === "waiting";
  useEffect(() => {
    if (!counting) return undefined;
    const timer = setInterval(() => tick((count) => count + 1), 1_000);
    return () => clearInterval(timer);
  }, [counting]);
  const words = connectionWords(connection, {
    online: navigator.onLine,
    now: Date.now(),
    deleted: conversation.notice?.code === "thread_deleted",
  });
  return html`<div class="connection" data-status=${connection.status}>
    <p role="status"><span class="light" aria-hidden="true"></span>${words}</p>
    ${counting && html`<${Button} kind="link" onClick=${() => connection.hurry()}>Try now<//>`}
  </div>`;
}
