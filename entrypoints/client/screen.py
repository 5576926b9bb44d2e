"""A conversation as lines of a terminal: what is printed cannot be taken back, so a new beginning is announced."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType

from unbroken.entrypoints.client.reducer import Conversation
from unbroken.entrypoints.client.turn import Turn

_CONTROL = {code: "\ufffd" for code in [*range(32), 127, *range(128, 160)] if chr(code) not in "\n\t"}
"""A model's words must not move the cursor or colour the terminal."""
_CLEAR_LINE = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


class Screen:
    """`interactive`: everything of the thread is shown as it comes. Otherwise only the answers to `mine`, and where
    the output is no terminal, only once they are whole."""

    def __init__(self, console: Console, *, interactive: bool) -> None:
        self._console = console
        self._interactive = interactive
        self._streams = interactive or console.is_terminal
        self._mine: set[str] = set()
        self._done: set[str] = set()
        self._tools: set[tuple[str, str, str]] = set()
        self._asked: set[tuple[str, str]] = set()
        self._open: str | None = None
        """The turn that is being printed."""
        self._printed = ""
        self._prompting = False
        self._line_open = False

    def greet(self, thread_id: str) -> None:
        self._line(f"Thread {thread_id}. End with Ctrl-D; what you said is answered all the same.", "dim")

    def ask(self) -> None:
        if not self._prompting and not self._line_open:
            self._console.print("you › ", style="bold cyan", end="")
            self._prompting = True

    def typed(self) -> None:
        """The user pressed return; the terminal has echoed the line."""
        self._prompting = False

    def mine(self, request_id: str) -> None:
        self._mine.add(request_id)

    def show(self, conversation: Conversation) -> None:
        """Print what is new."""
        for turn in conversation.turns:
            if not (self._interactive or turn.request_id in self._mine):
                continue
            if turn.request_id not in self._done and not self._turn(turn):
                break
            self._questions(turn)
        if self._interactive and not any(turn.attempt and not turn.ended for turn in conversation.turns):
            self.ask()

    def _turn(self, turn: Turn) -> bool:
        """Whether the turn is over, so that the next one may be printed."""
        over = turn.ended or turn.refused
        if not over and not turn.attempt:
            return False
        if self._streams or over:
            if self._open != turn.request_id:
                self._begin(turn)
            self._steps(turn)
            self._text(turn)
        if over:
            self._end(turn)
        return over

    def _begin(self, turn: Turn) -> None:
        self._open, self._printed = turn.request_id, ""
        if self._interactive and turn.own is None and turn.said:
            self._line(f"you › {said_text(turn.said)}", "cyan")

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
            step = (turn.request_id, tool["toolCallId"], tool["phase"])
            if step not in self._tools:
                self._tools.add(step)
                self._line(f"⚙ {tool['name']} {tool['phase']}".translate(_CONTROL), "dim")

    def _questions(self, turn: Turn) -> None:
        for question in turn.questions:
            asked = (turn.request_id, question["interruptId"])
            if asked not in self._asked:
                self._asked.add(asked)
                self._line(f"? {said_text(question)}", "yellow")

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
        text = "\n".join(str(block.get("text") or f"[{block.get('type')}]") for block in content)
    else:
        text = json.dumps(said.get("value"), ensure_ascii=False)
    return text.translate(_CONTROL)
