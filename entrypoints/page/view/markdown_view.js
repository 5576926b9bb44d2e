// An answer's text: blocks that stay as they are while the text grows behind them.

import { CodeBlock } from "./code_block.js";
import { Component, html, useMemo } from "./ui.js";
import { MarkdownBlocks } from "../text/markdown.js";
import DOMPurify from "../vendor/dompurify-3.4.18.js";

const ALLOWED = { ADD_ATTR: ["target"], FORBID_TAGS: ["img", "style", "form", "input"], FORBID_ATTR: ["style"] };

// `whole`: nothing will be added to the text; then all of it is read once more, as one.
export function Markdown({ text, whole }) {
  const reader = useMemo(() => new MarkdownBlocks(), [whole]);
  return reader
    .of(text)
    .map((block, index) =>
      block.kind === "code"
        ? html`<${CodeBlock} key=${`code-${index}`} ...${block} />`
        : html`<${HtmlBlock} key=${`html-${index}`} html=${block.html} />`,
    );
}

class HtmlBlock extends Component {
  componentDidMount() {
    this.#draw();
  }

  shouldComponentUpdate(next) {
    return next.html !== this.props.html;
  }

  componentDidUpdate() {
    this.#draw();
  }

  #draw() {
    const { html: markup } = this.props;
    this.element.replaceChildren(DOMPurify.sanitize(markup, { ...ALLOWED, RETURN_DOM_FRAGMENT: true }));
  }

  render() {
    return html`<div class="block" ref=${(element) => {
      this.element = element;
    }}></div>`;
  }
}
