// A block of code: its language, a button that copies it, and colours once it is whole.

import { CopyButton } from "./copy_button.js";
import { Component, html } from "./ui.js";

const TOO_LONG_TO_COLOUR = 60_000;
let highlighter = null; // a promise: it is fetched when the first code is whole

export class CodeBlock extends Component {
  componentDidMount() {
    this.#draw();
  }

  shouldComponentUpdate(next) {
    return next.text !== this.props.text || next.open !== this.props.open || next.language !== this.props.language;
  }

  componentDidUpdate() {
    this.#draw();
  }

  // What streams is written as plain text into one node that grows; Preact never touches what is inside.
  #draw() {
    const { text, open, language } = this.props;
    const first = this.code.firstChild;
    if (this.code.childNodes.length === 1 && first.nodeType === Node.TEXT_NODE && text.startsWith(first.data)) {
      first.appendData(text.slice(first.data.length));
    } else {
      this.code.textContent = text;
    }
    if (!open && language && text.length < TOO_LONG_TO_COLOUR) this.#colour(text, language);
  }

  async #colour(text, language) {
    highlighter ??= import("../vendor/highlight-11.12.0.js");
    const { default: colours } = await highlighter;
    if (this.props.text !== text || !colours.getLanguage(language)) return;
    // It escapes what it is given.
    this.code.innerHTML = colours.highlight(text, { language, ignoreIllegals: true }).value;
  }

  render({ text, language }) {
    return html`<figure class="code">
      <figcaption>
        <span>${language || "text"}</span>
        <${CopyButton} text=${text} label="Copy code" />
      </figcaption>
      <pre tabindex="0"><code ref=${(element) => {
        this.code = element;
      }}></code></pre>
    </figure>`;
  }
}
