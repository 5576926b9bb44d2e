// Beside the conversation: what became of one of its turns, stage by stage.

import { again, chevron, cross } from "./icons.js";
import { Button, html, useEffect, useRef } from "./ui.js";
import {
  clockWords,
  entryWords,
  lengthWords,
  segments,
  segmentWords,
  shortened,
  stages,
  stateWords,
} from "../text/story.js";
import { textOf } from "../turn.js";

const LONGEST_TITLE = 80;

export function InspectorView({ page }) {
  const { inspector, session } = page;
  const heading = useRef(null);
  const shown = session.conversation.turn(inspector.requestId);
  // The turn as the conversation has it: when that moves, the server has more to tell.
  const mark = shown && `${shown.phase} ${shown.attempt}`;
  useEffect(() => inspector.again(), [mark]);
  useEffect(() => heading.current.focus(), [inspector.requestId]);
  const said = shown?.said.content === undefined ? "" : shortened(textOf(shown.said.content), LONGEST_TITLE);
  return html`<aside class="inspector" aria-labelledby="inspector-title">
    <div class="top">
      <h2 id="inspector-title" tabindex="-1" ref=${heading}>What happened</h2>
      <${Button} icon=${cross} label="Close what happened" onClick=${() => page.inspect(null)} />
    </div>
    <div class="inside" role="group" aria-label="What happened to this message" tabindex="0">
      ${said && html`<p class="about">${said}</p>`}
      ${inspector.trouble && html`<p role="alert" class="trouble">${inspector.trouble}</p>`}
      ${inspector.turn && html`<${Story} inspector=${inspector} turn=${inspector.turn} />`}
    </div>
  </aside>`;
}

function Story({ inspector, turn }) {
  return html`
    <p class="outcome" data-state=${turn.state}>
      <span>${stateWords(turn)}</span>
      ${turn.traceUrl && html`<a href=${turn.traceUrl} target="_blank" rel="noopener noreferrer">Open its trace</a>`}
    </p>
    <${Stages} turn=${turn} />
    <${Line} entries=${turn.entries} now=${inspector.now} />
    <ol class="entries" aria-label="In order">
      ${turn.entries.map((entry, index) => html`<${Entry} key=${index} entry=${entry} inspector=${inspector} />`)}
    </ol>
  `;
}

function Stages({ turn }) {
  return html`<ol class="stages" aria-label="Stages">
    ${stages(turn).map(
      ([name, at]) => html`<li data-reached=${String(at !== undefined)}>
        <span class="dot" aria-hidden="true"></span>
        <span>${name}</span>
        <span class="at">${at === undefined ? "not yet" : clockWords(at)}</span>
      </li>`,
    )}
  </ol>`;
}

// Lengths to scale, but for the shortest and the longest, which are all to be seen.
function Line({ entries, now }) {
  const drawn = segments(entries, now);
  if (!drawn.length) return null;
  return html`<div class="line" role="img" aria-label=${drawn.map(segmentWords).join(", ")}>
    ${drawn.map(
      (part) => html`<span
        data-kind=${part.kind}
        data-lost=${part.lost}
        title=${segmentWords(part)}
        style=${{ flexGrow: Math.sqrt(part.ms + 1) }}
      ></span>`,
    )}
  </div>`;
}

function Entry({ entry, inspector }) {
  const [title, details] = entryWords(entry);
  const length = lengthWords(entry.ms);
  return html`<li
    class="entry"
    data-kind=${entry.kind}
    data-lost=${String(entry.lost === true)}
    data-status=${entry.status}
  >
    <span class="dot" aria-hidden="true"></span>
    <div class="what">
      <p class="title">${title}</p>
      ${details && html`<p class="details">${details}</p>`}
      ${entry.kind === "checkpoint" && html`<${Contents} entry=${entry} inspector=${inspector} />`}
      ${entry.status === "failed" && html`<${DeadLetter} entry=${entry} inspector=${inspector} />`}
    </div>
    <p class="when">
      <time datetime=${entry.at ?? undefined}>${clockWords(entry.at)}</time>
      ${length && html`<span class="length">+${length}</span>`}
    </p>
  </li>`;
}

function Contents({ entry, inspector }) {
  const { checkpointId } = entry;
  const open = inspector.contents.has(checkpointId);
  const found = inspector.contents.get(checkpointId);
  return html`
    <${Button} kind="link fold" aria-expanded=${open} onClick=${() => inspector.toggle(entry)}>
      ${chevron}${open ? "Put its contents away" : "Show its contents"}
    <//>
    ${open && found === null && html`<p class="details">Reading…</p>`}
    ${found?.trouble && html`<p class="details">${found.trouble}</p>`}
    ${
      found?.values &&
      html`<pre tabindex="0" role="region" aria-label=${`Contents of ${checkpointId}`}>${pretty(found)}</pre>`
    }
  `;
}

function pretty({ values, pending }) {
  return JSON.stringify(pending.length ? { ...values, "(pending)": pending } : values, null, 2);
}

function DeadLetter({ entry, inspector }) {
  const trouble = inspector.retried.get(entry.effectId);
  return html`
    <pre tabindex="0" role="region" aria-label="What was to be done">${JSON.stringify(entry.body, null, 2)}</pre>
    <${Button} icon=${again} kind="choice" onClick=${() => inspector.retry(entry)}>Try once more<//>
    ${trouble && html`<p role="alert" class="details">${trouble}</p>`}
  `;
}
