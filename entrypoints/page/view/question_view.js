// An agent's question as a form, and afterwards as what became of it.

import { Button, html, useState } from "./ui.js";
import { answerText, decisionsOf, formOf, valueOf } from "../text/question_form.js";
import { readable } from "../text/tools.js";

const OUTCOMES = { answered: "Answered", superseded: "No longer asked", cancelled: "Withdrawn" };

// `response`: the turn by which it was answered, if any; `respond(value)` answers it. An answer whose turn failed or
// was stopped has left the question open.
export function Question({ question, response, respond }) {
  const form = formOf(question.value);
  const lost = response && (response.phase === "failed" || response.phase === "cancelled");
  const open = question.outcome === null && (!response || lost);
  const Form = FORMS[form.kind];
  return html`<section class="question" data-open=${open} aria-label="Question">
    <p class="prompt">${form.prompt}</p>
    ${form.detail && html`<p class="detail">${form.detail}</p>`}
    ${open && html`<${Form} form=${form} respond=${respond} />`}
    ${!open && html`<${Outcome} question=${question} response=${response} />`}
  </section>`;
}

function Outcome({ question, response }) {
  const words = question.outcome ? OUTCOMES[question.outcome] : "Sending your answer…";
  const said = response && answerText(response.said.value, question.value);
  return html`<p class="outcome">
    <span>${words}</span>${said !== undefined && html`<span class="said-there">${said}</span>`}
  </p>`;
}

function TextForm({ form, respond }) {
  const [text, setText] = useState(form.initial ?? "");
  const submit = (event) => {
    event.preventDefault();
    if (text.trim()) respond(form.kind === "json" ? valueOf(text.trim()) : text.trim());
  };
  const label = form.kind === "json" ? "Your answer, as text or JSON" : "Your answer";
  return html`<form onSubmit=${submit}>
    <textarea
      rows="1"
      aria-label=${label}
      placeholder=${label}
      value=${text}
      onInput=${(event) => setText(event.target.value)}
      onKeyDown=${(event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && submit(event)}
    ></textarea>
    <${Button} kind="primary" type="submit" disabled=${!text.trim()}>Answer<//>
  </form>`;
}

function ChoiceForm({ form, respond }) {
  return html`<div class="choices" role="group" aria-label=${form.prompt}>
    ${form.choices.map(
      ({ label, value }) => html`<${Button} kind="choice" onClick=${() => respond(value)}>${label}<//>`,
    )}
  </div>`;
}

function ChoicesForm({ form, respond }) {
  const [chosen, setChosen] = useState(new Set());
  const toggle = (index) => {
    const next = new Set(chosen);
    if (!next.delete(index)) next.add(index);
    setChosen(next);
  };
  const submit = (event) => {
    event.preventDefault();
    respond(form.choices.filter((_, index) => chosen.has(index)).map(({ value }) => value));
  };
  return html`<form class="checks" onSubmit=${submit}>
    <fieldset>
      <legend class="visually-hidden">${form.prompt}</legend>
      ${form.choices.map(
        ({ label }, index) => html`<label>
          <input type="checkbox" checked=${chosen.has(index)} onChange=${() => toggle(index)} />${label}
        </label>`,
      )}
    </fieldset>
    <${Button} kind="primary" type="submit">Answer<//>
  </form>`;
}

function ApprovalForm({ form, respond }) {
  const [decisions, setDecisions] = useState(form.actions.map(() => ({ approved: true, reason: "" })));
  const change = (index, part) =>
    setDecisions(decisions.map((one, place) => (place === index ? { ...one, ...part } : one)));
  const all = (approved) => respond(decisionsOf(decisions.map((one) => ({ ...one, approved }))));
  const single = form.actions.length === 1;
  return html`<div class="approval">
    ${form.actions.map(
      ({ name, args, description }, index) => html`<div class="action">
        <p><code>${name}</code> ${description}</p>
        <pre tabindex="0">${readable(args)}</pre>
        ${
          !single &&
          html`<label>
          <input
            type="checkbox"
            checked=${decisions[index].approved}
            onChange=${(event) => change(index, { approved: event.target.checked })}
          />
          Approve ${name}
        </label>`
        }
        ${
          (single || !decisions[index].approved) &&
          html`<input
          class="field"
          aria-label=${`Why not ${name}`}
          placeholder="If not, why? (optional)"
          value=${decisions[index].reason}
          onInput=${(event) => change(index, { reason: event.target.value })}
        />`
        }
      </div>`,
    )}
    <div class="choices">
      ${single && html`<${Button} kind="primary" onClick=${() => all(true)}>Approve<//>`}
      ${single && html`<${Button} kind="choice" onClick=${() => all(false)}>Reject<//>`}
      ${!single && html`<${Button} kind="primary" onClick=${() => respond(decisionsOf(decisions))}>Send decisions<//>`}
    </div>
  </div>`;
}

const FORMS = { text: TextForm, json: TextForm, choice: ChoiceForm, choices: ChoicesForm, approval: ApprovalForm };
