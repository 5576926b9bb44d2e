// Markdown as blocks of HTML, so that an answer can grow without being drawn anew. No DOM.
//
// Raw HTML in an answer stays text, and pictures become links: what a model writes may come from anywhere, and a
// picture's address alone can carry a conversation away. The view sanitizes the result all the same.

import { Marked, Renderer } from "../vendor/marked-18.2.1.js";

const FIRST_HEADING = 3; // h1 is the thread's title, h2 each turn's
const LAST_HEADING = 6;
const SAFE_LINK = /^(https?:|mailto:)/i;
const CLOSED_FENCE = /^ {0,3}(`{3,}(?!`)|~{3,}(?!~))[^\n]*\n(?:[^]*\n)? {0,3}\1[`~]*[ \t]*\n*$/;

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => link(href, escaped(text || href)),
    link({ href, tokens }) {
      return link(href, this.parser.parseInline(tokens));
    },
    heading({ tokens, level = LAST_HEADING }) {
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    code: ({ text }) => `<pre tabindex="0"><code>${escaped(text)}</code></pre>`,
    table(token) {
      const table = Renderer.prototype.table.call(this, token);
      return `<div class="table" role="group" aria-label="Table" tabindex="0">${table}</div>`;
    },
  },
});

// Blocks are {kind: "code", text, language, open} or {kind: "html", html}; `open`: the fence is not closed yet.
export class MarkdownBlocks {
  #text = "";
  #settled = []; // blocks that more text cannot change
  #settledTo = 0; // where the rest begins
  #outline = []; // depths of the headings that the rest stands below

  // The blocks of a text, which usually is the last one and more.
  of(given) {
    const text = given.replace(/\r\n?/g, "\n");
    if (!text.startsWith(this.#text)) {
      this.#settled = [];
      this.#settledTo = 0;
      this.#outline = [];
    }
    this.#text = text;
    const tokens = marked.lexer(text.slice(this.#settledTo));
    const last = tokens.findLastIndex(({ type }) => type !== "space");
    const outlines = outline(tokens, this.#outline);
    const blocks = tokens.map((token) => blockOf(token, tokens.links));
    const all = [...this.#settled, ...blocks.filter(Boolean)];
    // A definition gives meaning to links all over the text: with one, everything stays open.
    if (last > 0 && !Object.keys(tokens.links).length) {
      this.#settled = [...this.#settled, ...blocks.slice(0, last).filter(Boolean)];
      for (const { raw } of tokens.slice(0, last)) this.#settledTo += raw.length;
      this.#outline = outlines[last - 1];
    }
    return all;
  }
}

// Give each heading the level that it has in the page's outline, whatever an answer begins with and leaves out.
// Returns, for each token, the depths of the headings that stand above what follows it.
function outline(tokens, above) {
  let open = above;
  return tokens.map((token) => {
    if (token.type === "heading") {
      open = [...open.filter((depth) => depth < token.depth), token.depth];
      token.level = Math.min(LAST_HEADING, FIRST_HEADING + open.length - 1);
    }
    return open;
  });
}

function blockOf(token, links) {
  if (token.type === "space" || token.type === "def") return null;
  if (token.type === "code") {
    const language = (token.lang ?? "").match(/^\S*/)[0].toLowerCase();
    const open = token.codeBlockStyle !== "indented" && !CLOSED_FENCE.test(token.raw);
    return { kind: "code", text: token.text, language, open };
  }
  return { kind: "html", html: marked.parser(Object.assign([token], { links })) };
}

function link(href, inner) {
  if (!SAFE_LINK.test(href)) return inner;
  return `<a href="${escaped(href)}" target="_blank" rel="noopener noreferrer">${inner}</a>`;
}

export function escaped(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}
