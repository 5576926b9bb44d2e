// The page's icons: 20 by 20, drawn with the colour of the text around them, and silent to screen readers.

import { html } from "./ui.js";

function icon(...paths) {
  return html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
    ${paths.map((path) => html`<path d=${path} />`)}
  </svg>`;
}

export const pencil = icon("M12.5 4.5l3 3M4 16l.8-3.6L13.3 4a1.4 1.4 0 0 1 2 0l.7.7a1.4 1.4 0 0 1 0 2L7.6 15.2z");
export const bin = icon("M4 6h12M8 6V4.5h4V6M5.5 6l.7 9.5h7.6l.7-9.5M8.5 9v4M11.5 9v4");
export const plus = icon("M10 4.5v11M4.5 10h11");
export const lens = icon("M9 14a5 5 0 1 0 0-10 5 5 0 0 0 0 10zM12.7 12.7L16 16");
export const cross = icon("M5.5 5.5l9 9M14.5 5.5l-9 9");
export const menu = icon("M4 6h12M4 10h12M4 14h8");
export const arrow = icon("M10 15.5v-11M5.5 9L10 4.5 14.5 9");
export const down = icon("M10 4.5v11M5.5 11l4.5 4.5 4.5-4.5");
export const square = icon("M6.5 6.5h7v7h-7z");
export const copy = icon("M7.5 7.5h8v8h-8zM5 12.5h-.5v-8h8V5");
export const check = icon("M4.5 10.5l3.5 3.5 7.5-8");
export const again = icon("M15.5 10a5.5 5.5 0 1 1-1.7-4M15.5 3.5V7H12");
export const clip = icon(
  "M15.8 9.2l-5.7 5.7a3.7 3.7 0 0 1-5.2-5.2l5.9-5.9a2.5 2.5 0 0 1 3.5 3.5l-5.8 5.8a1.2 1.2 0 0 1-1.7-1.7l5.3-5.3",
);
export const page = icon("M6 3.5h5.5L15 7v9.5H6zM11.5 3.5V7H15");
export const sound = icon("M4 8v4h2.5L10 15V5L6.5 8zM13 7.5a3.5 3.5 0 0 1 0 5M15 5.5a6.3 6.3 0 0 1 0 9");
export const wrench = icon(
  "M12.8 4.2a3.6 3.6 0 0 0-4.5 4.6L4 13.1 6.9 16l4.3-4.3a3.6 3.6 0 0 0 4.6-4.5l-2.2 2.2-2-.6-.6-2z",
);
export const clock = icon("M10 16.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM10 6.5V10l2.5 1.8");
export const chevron = icon("M7.5 5.5L12 10l-4.5 4.5");
export const thought = icon(
  "M6.5 13.5a4 4 0 0 1-.6-7.9 4.6 4.6 0 0 1 8.6 1.2 3.4 3.4 0 0 1-.5 6.7zM7 16.2h.01M5 17.2h.01",
);
export const dots = icon("M5 10h.01M10 10h.01M15 10h.01");
export const sun = icon(
  "M10 13.2a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4z",
  "M10 2.8v1.4M10 15.8v1.4M2.8 10h1.4M15.8 10h1.4",
  "M4.9 4.9l1 1M14.1 14.1l1 1M15.1 4.9l-1 1M5.9 14.1l-1 1",
);
export const moon = icon("M16 11.5A6.5 6.5 0 0 1 8.5 4a6.5 6.5 0 1 0 7.5 7.5z");
export const half = icon("M10 16.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM10 3.5v13M10 6l5 1M10 9.5h6M10 13h5");
export const keys = icon("M3.5 5.5h13v9h-13zM6 8.2h.01M9 8.2h.01M12 8.2h.01M14.5 8.2h.01M6 11.8h8");

// The ring that does not break.
export const ring = html`<svg class="ring" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
  <circle cx="12" cy="12" r="8.5" />
</svg>`;
