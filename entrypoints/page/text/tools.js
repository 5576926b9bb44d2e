// Where tool calls and all else that is no text stand in an answer, and how their values read. No DOM.

const ORDER = ["reasoning", "asides", "custom", "media"];

// The answer in the order in which it came about: {text}, and between it what was called, thought, said aside or shown,
// one kind at a time: {tools}, {reasoning}, {asides}, {custom}, {media}. Each stands at an `offset` of the text, and
// what is no tool behind so many `calls`; an answer that was revised may be shorter than that.
export function parts(text, tools, beside = {}) {
  const found = [];
  let from = 0;
  for (const { kind, item } of inOrder(tools, beside)) {
    const at = Math.min(item.offset, text.length);
    const last = found.at(-1);
    if (at > from && text.slice(from, at).trim()) found.push({ text: text.slice(from, at) }, { [kind]: [item] });
    else if (last?.[kind]) last[kind].push(item);
    else found.push({ [kind]: [item] });
    from = Math.max(from, at);
  }
  if (text.slice(from).trim()) found.push({ text: text.slice(from) });
  return found;
}

function inOrder(tools, beside) {
  const all = ORDER.flatMap((kind) => (beside[kind] ?? []).map((item) => ({ kind, item, rank: item.calls })));
  all.push(...tools.map((item, index) => ({ kind: "tools", item, rank: index + 0.5 })));
  return all.sort((one, other) => one.item.offset - other.item.offset || one.rank - other.rank);
}

// The names of the graphs on the way down to where something was said: `node:task` each.
export function whereabouts(namespace) {
  return namespace.map((step) => step.split(":", 1)[0]).join(" › ");
}

// A tool's arguments or result: JSON is indented, other text is as it is.
export function readable(value) {
  if (value === undefined || value === "") return "";
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  try {
    const parsed = JSON.parse(value);
    return typeof parsed === "object" && parsed !== null ? JSON.stringify(parsed, null, 2) : value;
  } catch {
    return value;
  }
}

export function isEmpty(value) {
  return value === undefined || value === "" || (typeof value === "object" && !Object.keys(value ?? {}).length);
}
