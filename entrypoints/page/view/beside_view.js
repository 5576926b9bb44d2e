// What stands in an answer beside its words and tools: what a model thought, what subgraphs said, what the agent's code
// wrote into the stream, and pictures and files of its messages.

import { chevron, dots, page, thought } from "./icons.js";
import { Markdown } from "./markdown_view.js";
import { html } from "./ui.js";
import { readable, whereabouts } from "../text/tools.js";

// Folded: few want to read it, and it is no part of the answer.
export function Reasoning({ reasoning, over }) {
  return reasoning.map(
    ({ messageId, namespace, text }) => html`<details class="thought" key=${messageId}>
      <summary>
        ${thought}<span class="name">${over ? "Thought" : "Thinking"}</span>
        ${namespace.length > 0 && html`<span class="where">${whereabouts(namespace)}</span>`}${chevron}
      </summary>
      <div class="prose" tabindex="0"><${Markdown} text=${text} whole=${over} /></div>
    </details>`,
  );
}

export function Asides({ asides, over }) {
  return asides.map(
    ({ messageId, namespace, text }) => html`<details class="thought" key=${messageId} open=${!over}>
      <summary>${dots}<span class="name">${whereabouts(namespace) || "Within"}</span>${chevron}</summary>
      <div class="prose" tabindex="0"><${Markdown} text=${text} whole=${over} /></div>
    </details>`,
  );
}

// The last of it says how far the agent is; all of it is there for whoever wants to know.
export function Custom({ custom }) {
  const last = readable(custom.at(-1).value).replaceAll(/\s+/g, " ");
  return html`<details class="thought">
    <summary>
      ${dots}<span class="name">${last.slice(0, 120) || "…"}</span>
      ${custom.length > 1 && html`<span class="where">${custom.length}</span>`}${chevron}
    </summary>
    <ol class="said-in-stream" tabindex="0">
      ${custom.map(({ value, namespace }, index) => html`<li key=${index}>
        ${namespace.length > 0 && html`<span class="where">${whereabouts(namespace)}</span>`}
        <pre>${readable(value) || "…"}</pre>
      </li>`)}
    </ol>
  </details>`;
}

export function Media({ media, fileUrl }) {
  return html`<ul class="files" aria-label="Pictures and files">
    ${media.map(({ block }, index) => html`<${Medium} key=${index} block=${block} fileUrl=${fileUrl} />`)}
  </ul>`;
}

function Medium({ block, fileUrl }) {
  const source = sourceOf(block, fileUrl);
  const name = block.filename ?? block.extras?.name ?? block.type;
  if (source && isPicture(block)) {
    return html`<li class="picture"><img src=${source} alt="A picture" loading="lazy" /></li>`;
  }
  if (source && block.type === "audio") return html`<li><audio controls src=${source}></audio></li>`;
  const about = html`<span class="glyph">${page}</span><span class="about"><span class="name">${name}</span></span>`;
  const elsewhere = block.url ?? block.image_url?.url;
  const link = source ?? (/^https?:/.test(elsewhere ?? "") ? elsewhere : null);
  if (!link) return html`<li class="file">${about}</li>`;
  return html`<li><a class="file" href=${link} target="_blank" rel="noopener noreferrer">${about}</a></li>`;
}

const isPicture = ({ type }) => type === "image" || type === "image_url";

// An address of this page's own: what lies elsewhere would tell its owner who reads here.
function sourceOf(block, fileUrl) {
  if (block.file_id) return fileUrl(block.file_id);
  const data = block.base64 ?? (block.source_type === "base64" ? block.data : undefined);
  const kind = block.type === "audio" ? /^audio\/[\w.+-]+$/ : /^image\/[\w.+-]+$/;
  if (data && kind.test(block.mime_type ?? "")) return `data:${block.mime_type};base64,${data}`;
  const url = block.image_url?.url ?? block.image_url ?? block.url;
  return typeof url === "string" && /^data:(image|audio)\//.test(url) ? url : null;
}
