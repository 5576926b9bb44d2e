// Copies a text, and says so for a moment.

import { check, copy } from "./icons.js";
import { Button, html, useEffect, useState } from "./ui.js";

const SAID_FOR_MS = 2_000;

export function CopyButton({ text, label }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), SAID_FOR_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const click = async () => {
    await write(text);
    setCopied(true);
  };
  return html`<${Button} icon=${copied ? check : copy} label=${copied ? "Copied" : label} onClick=${click} />`;
}

// Without a secure context there is no clipboard but the selection's.
async function write(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
