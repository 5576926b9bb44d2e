"""A conversation as lines of a terminal: what is printed cannot be taken back, so a new beginning is announced."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType

from unbroken.entrypoints.client.question_form import form_of
from unbroken.entrypoints.client.reducer import Conversation
from unbroken.entrypoints.client.turn import Turn

_CONTROL = {code: "\ufffd" for code in [*range(32), 127, *range(128, 160)] if chr(code) not in "\n\t"}
"""A model's words must not move the cursor or colour the terminal."""
_CLEAR_LINE = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
_BRIEF = 200
"""Characters of what an agent's code wrote."""
_ABOVE = "what you said before"


class Screen:
    """`interactive`: everything of the thread is shown as it comes. Otherwise only the answers to `mine`, and where
    the output is no terminal, only once they are whole."""

    def __init__(self, console: Console, *, interactive: bool) -> None:
        self._console = console
        self._interactive = interactive
        self._streams = interactive or console.is_terminal
        self._mine: set[str] = set()
        self._prompting = False
        self._line_open = False
        self.prompt = "you"
        """Who is to type: `you`, or what the line will be taken for."""
        self.begin()

    def begin(self) -> None:
        """Another thread: nothing of it was shown yet."""
        self._done: set[str] = set()
        self._tools: set[tuple[str, str, str, str]] = set()
        self._beside: set[tuple[str, int, str, str]] = set()
        self._asked: set[tuple[str, str]] = set()
        self._open: str | None = None
        """The turn that is being printed."""
        self._printed = ""

    def greet(self, thread_id: str) -> None:
        self.note(f"Thread {thread_id}. /help says what else you can do; Ctrl-D leaves, and what you said is answered.")

    def note(self, *lines: str, style: str = "dim") -> None:
        """Words of ours, not of the conversation."""
        for line in lines:
            self._line(line.translate(_CONTROL), style)

    def ask(self) -> None:
        if not self._prompting and not self._line_open:
            self._console.print(f"{self.prompt} › ", style="bold cyan", end="")
            self._prompting = True

    def typed(self) -> None:
        """The user pressed return; the terminal has echoed the line."""
        self._prompting = False

    def mine(self, request_id: str) -> None:
        self._mine.add(request_id)

    def show(self, conversation: Conversation) -> None:
        """Print what is new."""
        shown = conversation.branch()
        for turn in shown:
            if not (self._interactive or turn.request_id in self._mine):
                continue
            if turn.request_id not in self._done and not self._turn(turn):
                break
            self._questions(turn)
        if self._interactive and not any(turn.attempt and not turn.ended for turn in shown):
            self.ask()

    def unfold(self, turn: Turn) -> None:
        """A turn's tool calls with all that is known of them."""
        for tool in turn.tools:
            self.note(f"⚙ {tool['name']} {tool['phase']}", style="")
            if data := tool.get("data"):
                self.note(*(f"  {line}" for line in _pretty(data).splitlines()))
        if not turn.tools:
            self.note("no tool was called in the last answer")

    def _turn(self, turn: Turn) -> bool:
        """Whether the turn is over, so that the next one may be printed."""
        over = turn.ended or turn.refused
        if not over and not turn.attempt:
            return False
        if self._streams or over:
            if self._open != turn.request_id:
                self._begin(turn)
            self._steps(turn)
            self._thoughts(turn)
            self._text(turn)
        if over:
            self._end(turn)
        return over

    def _begin(self, turn: Turn) -> None:
        self._open, self._printed = turn.request_id, ""
        if self._interactive and turn.own is None and turn.said:
            self._line(f"you › {said_text(turn.said)}", "cyan")
        if self._interactive and turn.replaces is not None:
            self._line(f"↶ instead of {_ABOVE}", "dim")

    def _text(self, turn: Turn) -> None:
        text = turn.text.translate(_CONTROL)
        if not text.startswith(self._printed):
            self._line("↻ the answer begins again" if not turn.ended else "↻ the answer is", "dim")
            self._printed = ""
        if rest := text[len(self._printed) :]:
            self._make_room()
            self._console.print(rest, end="")
            self._printed, self._line_open = text, not rest.endswith("\n")

    def _steps(self, turn: Turn) -> None:
        for tool in turn.tools if self._interactive else []:
            place = _place(tool) if "namespace" in tool else ""
            step = (turn.request_id, place, tool["toolCallId"], tool["phase"])
            if step not in self._tools:
                self._tools.add(step)
                self._line(f"⚙ {place}{tool['name']} {tool['phase']}".translate(_CONTROL), "dim")

    def _thoughts(self, turn: Turn) -> None:
        """While it runs, that a model thinks and what the agent's code writes; at its end, what its subgraphs said."""
        if not self._interactive:
            return
        if turn.ended:
            lines = [("aside", one["messageId"], f"│ {_place(one)}{one['text']}") for one in turn.asides]
        else:
            lines = [("thinking", one["messageId"], "⋯ thinking") for one in turn.reasoning]
            lines += [("custom", str(n), f"• {_place(one)}{_brief(one['value'])}") for n, one in enumerate(turn.custom)]
        for kind, name, line in lines:
            said = (turn.request_id, turn.attempt, kind, name)
            if said not in self._beside:
                self._beside.add(said)
                self._line(line.translate(_CONTROL), "dim")

    def _questions(self, turn: Turn) -> None:
        for question in turn.questions:
            asked = (turn.request_id, question["interruptId"])
            if asked in self._asked:
                continue
            self._asked.add(asked)
            form = form_of(question["value"])
            self._line(f"? {form.prompt}".translate(_CONTROL), "yellow")
            self.note(*(f"  {line}" for line in form.lines()), style="yellow")
            if self._interactive and form.hint and question["outcome"] is None:
                self.note(f"  ({form.hint})")

    def _end(self, turn: Turn) -> None:
        if self._line_open:
            self._console.print()
            self._line_open = False
        self._done.add(turn.request_id)
        self._open = None
        if turn.error:
            self._line(f"✗ {turn.error['code']}: {turn.error['message']}".translate(_CONTROL), "red")
        elif turn.outcome == "cancelled":
            self._line("✗ cancelled", "red")

    def _line(self, text: str, style: str) -> None:
        self._make_room()
        if self._line_open:
            self._console.print()
            self._line_open = False
        self._console.print(text, style=style)

    def _make_room(self) -> None:
        if self._prompting:
            self._prompting = False
            if self._console.is_terminal:
                self._console.control(_CLEAR_LINE)


def said_text(said: dict[str, Any]) -> str:
    """What a user said, as text: blocks that are not text show their type."""
    content = said.get("content")
    if isinstance(content, str):
        text = content
    elif isinstance(content, list):
        text = "\n".join(_block_text(content))
    else:
        value = said.get("value")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.translate(_CONTROL)


def _block_text(blocks: Iterable[dict[str, Any]]) -> Iterable[str]:
    for block in blocks:
        yield str(block.get("text") or f"[{block.get('type')}]")


def _place(said: dict[str, Any]) -> str:
    """The subgraph it comes from, if any."""
    steps = [str(step).partition(":")[0] for step in said["namespace"]]
    return f"{' › '.join(steps)}: " if steps else ""


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"


def _pretty(data: Any) -> str:
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, indent=2)
