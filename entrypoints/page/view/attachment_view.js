// Files: those that go with the next message, and those that were said.

import { again, cross, page, sound } from "./icons.js";
import { Button, html } from "./ui.js";
import { readableSize } from "../model/attachments.js";

const GLYPHS = { audio: sound, file: page };

export function Pending({ attachments, fileUrl }) {
  if (!attachments.items.length) return null;
  return html`<ul class="files" aria-label="Attached files">
    ${attachments.items.map(
      (item) => html`<li key=${item.id} class="file" data-failed=${Boolean(item.error)}>
        ${
          item.fileId && item.type.startsWith("image/")
            ? html`<img src=${fileUrl(item.fileId)} alt="" />`
            : html`<span class="glyph">${item.type.startsWith("audio/") ? sound : page}</span>`
        }
        <span class="about"><span class="name">${item.name}</span><span class="size">${stateOf(item)}</span></span>
        ${
          item.error &&
          html`<${Button}
          icon=${again}
          label=${`Upload ${item.name} again`}
          onClick=${() => attachments.again(item)}
        />`
        }
        <${Button} icon=${cross} label=${`Remove ${item.name}`} onClick=${() => attachments.remove(item)} />
        ${
          !item.fileId &&
          !item.error &&
          html`<progress aria-label=${`Uploading ${item.name}`} max="1" value=${item.progress}></progress>`
        }
      </li>`,
    )}
  </ul>`;
}

function stateOf({ error, fileId, progress, size }) {
  if (error) return error;
  return fileId ? readableSize(size) : `${Math.round(progress * 100)} %`;
}

// `blocks`: the parts of a message that are not text.
export function Said({ blocks, fileUrl }) {
  if (!blocks.length) return null;
  return html`<ul class="files" aria-label="Files">
    ${blocks.map((block) => html`<${SaidFile} block=${block} fileUrl=${fileUrl} />`)}
  </ul>`;
}

function SaidFile({ block, fileUrl }) {
  const { name = block.type, size } = block.extras ?? {};
  const source = block.file_id ? fileUrl(block.file_id) : null;
  if (block.type === "image" && source) {
    return html`<li class="picture">
      <a href=${source} target="_blank" rel="noopener"><img src=${source} alt=${name} loading="lazy" /></a>
    </li>`;
  }
  const about = html`<span class="glyph">${GLYPHS[block.type] ?? page}</span>
    <span class="about">
      <span class="name">${name}</span>
      ${size !== undefined && html`<span class="size">${readableSize(size)}</span>`}
    </span>`;
  if (!source) return html`<li class="file">${about}</li>`;
  return html`<li><a class="file" href=${source} target="_blank" rel="noopener" download=${name}>${about}</a></li>`;
}
