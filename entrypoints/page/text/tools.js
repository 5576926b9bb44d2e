// Where tool calls stand in an answer, and how their values read. No DOM.

// The answer in the order in which it came about: {text} and {tools} by turns. A tool is called at an `offset` of the
// text; an answer that was revised may be shorter than that.
export function parts(text, tools) {
  const found = [];
  let from = 0;
  const sorted = [...tools].sort((one, other) => one.offset - other.offset);
  for (const tool of sorted) {
    const at = Math.min(tool.offset, text.length);
    const last = found.at(-1);
    if (at > from && text.slice(from, at).trim()) found.push({ text: text.slice(from, at) }, { tools: [tool] });
    else if (last?.tools) last.tools.push(tool);
    else found.push({ tools: [tool] });
    from = Math.max(from, at);
  }
  if (text.slice(from).trim()) found.push({ text: text.slice(from) });
  return found;
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
