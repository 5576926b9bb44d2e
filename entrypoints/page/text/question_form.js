// What an agent asks, as a form. No DOM.
//
// An agent may interrupt with any JSON value; these shapes are understood, and whatever else it is can be answered
// in words or as JSON:
//
//   "text"                                        a free answer
//   {question | prompt | message | title | text | description}   the words; with
//     options | choices (and multiple: true)      one of them (or some)
//     type: "boolean", or a boolean default       yes or no
//   {type: "breakpoint", nodes: […]}              may the agent go on; only true lets it
//   {action_requests: [{name, args}…]}            LangChain's approval of tool calls: one decision each

const WORDS = ["question", "prompt", "message", "title", "text", "description"];
const CHOICES = ["options", "choices"];
const GO_ON = [
  { label: "Go on", value: true },
  { label: "Stop here", value: false },
];
const YES_NO = [
  { label: "Yes", value: true },
  { label: "No", value: false },
];

// {kind, prompt, detail?, choices?, actions?, initial?}; kind: text, choice, choices, approval or json.
export function formOf(value) {
  if (typeof value === "string") return { kind: "text", prompt: value };
  if (value === null || typeof value !== "object" || Array.isArray(value)) return asJson(value);
  if (value.type === "breakpoint" && Array.isArray(value.nodes)) return breakpointOf(value);
  if (Array.isArray(value.action_requests) && value.action_requests.length) return approvalOf(value);
  const wording = WORDS.find((name) => typeof value[name] === "string" && value[name].trim());
  if (!wording) return asJson(value);
  const form = { prompt: value[wording], ...detailOf(value, wording) };
  const options = CHOICES.map((name) => value[name]).find((list) => Array.isArray(list) && list.length);
  if (options) return { ...form, kind: value.multiple === true ? "choices" : "choice", choices: options.map(choiceOf) };
  if (value.type === "boolean" || typeof value.default === "boolean")
    return { ...form, kind: "choice", choices: YES_NO };
  return { ...form, kind: "text", ...(typeof value.default === "string" && { initial: value.default }) };
}

// What a person's decisions on tool calls are for LangChain: [{type: "approve"} | {type: "reject", message?}…].
export function decisionsOf(decisions) {
  return {
    decisions: decisions.map(({ approved, reason }) =>
      approved ? { type: "approve" } : { type: "reject", ...(reason.trim() && { message: reason.trim() }) },
    ),
  };
}

// What was written as an answer to a question without a form: the JSON that it is, else the text.
export function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// An answer that was given, for people; `question`: the value that asked, if it is known.
export function answerText(answer, question) {
  const { choices = [] } = question === undefined ? {} : formOf(question);
  const same = (one) => JSON.stringify(one.value) === JSON.stringify(answer);
  const chosen = choices.find(same);
  if (chosen) return chosen.label;
  if (Array.isArray(answer) && answer.length && choices.length) {
    return answer.map((one) => choices.find(({ value }) => value === one)?.label ?? String(one)).join(", ");
  }
  if (typeof answer === "string") return answer;
  if (typeof answer === "boolean") return answer ? "Yes" : "No";
  if (Array.isArray(answer?.decisions)) return answer.decisions.map(decisionText).join(", ");
  return JSON.stringify(answer, null, 2);
}

function decisionText({ type, message }) {
  const words = { approve: "Approved", reject: "Rejected", edit: "Approved with changes" }[type] ?? type;
  return message ? `${words}: ${message}` : words;
}

function breakpointOf({ nodes }) {
  return { kind: "choice", prompt: `May the agent go on with “${nodes.join("”, “")}”?`, choices: GO_ON };
}

function approvalOf({ action_requests: requests }) {
  const actions = requests.map(({ name, args, arguments: alias, description }) => ({
    name: String(name),
    args: args ?? alias ?? {},
    description: typeof description === "string" ? description : "",
  }));
  const prompt = actions.length === 1 ? `May I use “${actions[0].name}”?` : "May I use these tools?";
  return { kind: "approval", prompt, actions };
}

function detailOf(value, wording) {
  const detail = wording !== "description" && typeof value.description === "string" ? value.description : "";
  return detail ? { detail } : {};
}

function choiceOf(option) {
  if (option === null || typeof option !== "object") return { label: String(option), value: option };
  const label = option.label ?? option.title ?? option.name ?? option.value;
  return label === undefined
    ? { label: JSON.stringify(option), value: option }
    : { label: String(label), value: option.value ?? option.id ?? option };
}

function asJson(value) {
  return { kind: "json", prompt: "The agent waits for an answer.", detail: JSON.stringify(value, null, 2) };
}
