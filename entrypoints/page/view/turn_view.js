// One turn: what was said, the answer with its tools and questions, and what can be done with them.

import { Said } from "./attachment_view.js";
import { Asides, Custom, Media, Reasoning } from "./beside_view.js";
import { CopyButton } from "./copy_button.js";
import { Editor } from "./editor.js";
import { again, bin, clock, pencil, ring, square } from "./icons.js";
import { Markdown } from "./markdown_view.js";
import { Question } from "./question_view.js";
import { Tools } from "./tool_view.js";
import { Button, drawnBy, html } from "./ui.js";
import { textOf } from "../turn.js";
import { answerText } from "../text/question_form.js";
import { parts } from "../text/tools.js";
import { turnWords } from "../text/words.js";

// `page`: what the views may do (app.js); `responses`: interrupt id → the turn that answers it.
export const TurnView = drawnBy(
  ({ turn, connected, editing, begunAgain, responses, last, inspected }) => [
    turn,
    turn.phase,
    turn.text,
    turn.attempt,
    turn.cancelWanted,
    turn.error,
    turn.said,
    connected,
    editing,
    begunAgain,
    last,
    inspected,
    turn.questions.map(({ interruptId, outcome }) => `${outcome} ${responses.get(interruptId)?.phase ?? ""}`).join(),
    ...turn.tools,
    null,
    ...turn.reasoning,
    null,
    ...turn.asides,
    turn.custom.length,
    turn.custom.at(-1),
    turn.media,
  ],
  function Turn({ turn, page, connected, editing, begunAgain, responses, last, inspected }) {
    const words = turnWords(turn, { connected, begunAgain });
    return html`<li
      class="turn"
      data-request-id=${turn.requestId}
      data-phase=${turn.phase}
      data-attempt=${turn.attempt}
      aria-busy=${turn.phase === "running"}
    >
      ${editing ? html`<${Editor} turn=${turn} page=${page} />` : html`<${SaidPart} turn=${turn} page=${page} />`}
      <${Answer} turn=${turn} fileUrl=${page.fileUrl} />
      ${turn.questions.map(
        (question) => html`<${Question}
          key=${question.interruptId}
          question=${question}
          response=${responses.get(question.interruptId)}
          respond=${(value) => page.session.respond(question.interruptId, value)}
        />`,
      )}
      <${State} turn=${turn} words=${words} page=${page} last=${last} inspected=${inspected} />
    </li>`;
  },
);

function SaidPart({ turn, page }) {
  const { content, interruptId, value } = turn.said;
  if (interruptId !== undefined) {
    const asked = page.session.conversation.turns.flatMap(({ questions }) => questions);
    const question = asked.find((one) => one.interruptId === interruptId);
    return html`<h2 class="visually-hidden">Your answer to a question</h2>
      <div class="said response" role="group" aria-label="You answered">${answerText(value, question?.value)}</div>`;
  }
  if (content === undefined) return null;
  const text = textOf(content);
  const blocks = typeof content === "string" ? [] : content.filter(({ type }) => type !== "text");
  return html`<h2 class="visually-hidden">You said</h2>
    <${Said} blocks=${blocks} fileUrl=${page.fileUrl} />
    ${text && html`<div class="said" role="group" aria-label="You said">${text}</div>`}
    <${Earlier} turn=${turn} page=${page} />
    <div class="actions mine">
      ${text && html`<${CopyButton} text=${text} label="Copy message" />`}
      ${turn.accepted && html`<${Button} icon=${pencil} label="Edit message" onClick=${() => page.edit(turn)} />`}
    </div>`;
}

// What stood here before, folded: nothing that was said is lost.
function Earlier({ turn, page }) {
  const earlier = turn.replaces === null ? null : page.session.conversation.turn(turn.replaces);
  if (!earlier) return null;
  const before = earlier.said.content ?? "";
  const same = JSON.stringify(before) === JSON.stringify(turn.said.content);
  return html`<details class="version">
    <summary>${same ? "Answered again" : "Edited"}</summary>
    ${!same && html`<p class="was-said">${textOf(before)}</p>`}
    ${
      earlier.text
        ? html`<div class="prose"><${Markdown} text=${earlier.text} whole=${true} /></div>`
        : html`<p>There was no answer.</p>`
    }
    <${Earlier} turn=${earlier} page=${page} />
  </details>`;
}

function Answer({ turn, fileUrl }) {
  const { text, tools, ended, phase, questions } = turn;
  const shown = parts(text, tools, turn);
  if (!shown.length) return null;
  const asked = questions.length > 0;
  const waits = asked ? (questions.some(({ outcome }) => outcome === null) ? "waiting" : "went on below") : undefined;
  return html`<h2 class="visually-hidden">Answer</h2>
    <div class="answer" role="group" aria-label="Answer" data-streaming=${phase === "running"}>
      ${shown.map((part, index) => {
        const key = `${Object.keys(part)[0]}-${index}`;
        if (part.tools) return html`<${Tools} key=${key} tools=${part.tools} over=${ended} waits=${waits} />`;
        const over = ended || index < shown.length - 1;
        if (part.reasoning) return html`<${Reasoning} key=${key} ...${part} over=${over} />`;
        if (part.asides) return html`<${Asides} key=${key} ...${part} over=${ended} />`;
        if (part.custom) return html`<${Custom} key=${key} ...${part} />`;
        if (part.media) return html`<${Media} key=${key} ...${part} fileUrl=${fileUrl} />`;
        return html`<div key=${key} class="prose"><${Markdown} text=${part.text} whole=${ended} /></div>`;
      })}
    </div>`;
}

// The line under a turn: its state in words, and what can be done about it.
function State({ turn, words, page, last, inspected }) {
  const { phase, text, said } = turn;
  const thinking = words === "Thinking…";
  const again_ = said.content !== undefined && (phase === "failed" || phase === "cancelled");
  const answered = phase === "answered" && said.content !== undefined;
  const waits = phase === "queued" && !turn.cancelWanted;
  const undelivered = phase === "unsent" || phase === "refused";
  return html`<div class="foot" data-last=${last}>
    ${
      words &&
      html`<p class="state" title=${turn.error ? `${turn.error.message} (${turn.error.code})` : undefined}>
      ${thinking && ring}<span>${words}</span>
    </p>`
    }
    <div class="actions">
      ${text && turn.ended && html`<${CopyButton} text=${text} label="Copy answer" />`}
      ${answered && html`<${Button} icon=${again} label="Answer again" onClick=${() => page.replace(turn)} />`}
      ${again_ && html`<${Button} icon=${again} kind="choice" onClick=${() => page.replace(turn)}>Try again<//>`}
      ${
        waits &&
        html`<${Button} icon=${square} kind="choice" onClick=${() => page.session.stop(turn)}>Do not answer this<//>`
      }
      ${
        !undelivered &&
        html`<${Button}
          icon=${clock}
          label="What happened"
          aria-pressed=${inspected}
          onClick=${() => page.inspect(inspected ? null : turn.requestId)}
        />`
      }
      ${undelivered && html`<${Button} icon=${bin} kind="choice" onClick=${() => page.takeBack(turn)}>Take back<//>`}
    </div>
  </div>`;
}
