// What every view needs: elements from templates, and a view that is drawn anew only if what it shows has changed.

import { Component, h, html } from "../vendor/preact-htm-3.1.1.js";

export {
  Component,
  html,
  render,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "../vendor/preact-htm-3.1.1.js";

// `marks(props)`: a list of values; while they are the ones of the last drawing, the view stays as it is. What it is
// given may change in place, so the marks are kept, not the properties.
export function drawnBy(marks, view) {
  return class extends Component {
    #drawn = [];

    shouldComponentUpdate(next) {
      const wanted = marks(next);
      return wanted.length !== this.#drawn.length || wanted.some((mark, index) => mark !== this.#drawn[index]);
    }

    render(props) {
      this.#drawn = marks(props);
      return h(view, props);
    }
  };
}

export function Button({ icon, label, kind = "quiet", children, ...rest }) {
  const name = children ? {} : { "aria-label": label, title: label };
  return html`<button type="button" class=${`button ${kind}`} ...${name} ...${rest}>${icon}${children}</button>`;
}

// Whether a shortcut would be taken from somebody who writes.
export function isWriting(target) {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
