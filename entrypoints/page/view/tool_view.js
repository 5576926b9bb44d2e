// Tool calls, folded: their name and state on one line, what went in and came out below.

import { chevron, wrench } from "./icons.js";
import { html } from "./ui.js";
import { isEmpty, readable, whereabouts } from "../text/tools.js";
import { callOf } from "../turn.js";

const STATES = { started: "running", finished: "done", failed: "failed" };

// `over`: nothing more comes of them; `waits`: they go on in the turn that an answer to a question begins.
export function Tools({ tools, over, waits }) {
  return html`<ul class="tools" aria-label="Tool calls">
    ${tools.map((tool) => html`<${Tool} key=${callOf(tool)} tool=${tool} over=${over} waits=${waits} />`)}
  </ul>`;
}

function Tool({ tool, over, waits }) {
  const unfinished = waits ?? (over ? "not finished" : STATES.started);
  const state = tool.phase === "started" ? unfinished : (STATES[tool.phase] ?? tool.phase);
  return html`<li class="tool" data-phase=${state === "not finished" ? "failed" : tool.phase}>
    <details>
      <summary>
        ${wrench}<span class="name">${tool.name}</span>${where(tool)}<span class="phase">${state}</span>${chevron}
      </summary>
      <${Value} title="Arguments" value=${tool.args} absent="None" />
      <${Value} title="Result" value=${tool.result} absent=${tool.phase === "started" ? "Not yet" : "None"} />
    </details>
  </li>`;
}

const where = ({ namespace }) => namespace && html`<span class="where">${whereabouts(namespace)}</span>`;

function Value({ title, value, absent }) {
  return html`<div class="value">
    <h3>${title}</h3>
    ${isEmpty(value) ? html`<p>${absent}</p>` : html`<pre tabindex="0">${readable(value)}</pre>`}
  </div>`;
}
