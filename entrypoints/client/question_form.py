"""What an agent asks, as a form that a line of text can answer. No I/O.

The twin of entrypoints/page/text/question_form.js: the same shapes are understood, and whatever else a question is can
be answered as JSON or in words.

    "text"                                        a free answer
    {question | prompt | message | title | text | description}   the words; with
      options | choices (and multiple: true)      one of them (or some)
      type: "boolean", or a boolean default       yes or no
    {action_requests: [{name, args}…]}            LangChain's approval of tool calls: one decision each
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

WORDS: Final = ("question", "prompt", "message", "title", "text", "description")
CHOICES: Final = ("options", "choices")
YES: Final = frozenset({"y", "yes", "approve", "ok"})
NO: Final = frozenset({"n", "no", "reject"})


class Choice(Struct, frozen=True):
    label: str
    value: Any


YES_NO: Final = (Choice("Yes", True), Choice("No", False))


class Form(Struct, frozen=True):
    kind: Literal["text", "choice", "choices", "approval", "json"]
    prompt: str
    detail: str = ""
    choices: tuple[Choice, ...] = ()
    actions: int = 0
    """How many tool calls are to be decided on."""
    initial: str = ""

    @property
    def hint(self) -> str:
        """How to answer it."""
        match self.kind:
            case "choice":
                return "the number or the words of one"
            case "choices":
                return "the numbers or words of those you choose, with commas between"
            case "approval" if self.actions > 1:
                return "yes or no for each, with commas between; what follows a no is its reason"
            case "approval":
                return "yes or no; what follows a no is its reason"
            case "json":
                return "JSON, or words"
            case _:
                return f"empty for {self.initial!r}" if self.initial else ""

    def lines(self) -> list[str]:
        """What is shown below the prompt."""
        shown = self.detail.splitlines()
        return shown + [f"{number}. {choice.label}" for number, choice in enumerate(self.choices, 1)]

    def answer(self, line: str) -> Any:
        """The value that a typed line stands for. Raises ValueError, with what would do instead."""
        line = line.strip()
        match self.kind:
            case "choice":
                return self._chosen(line)
            case "choices":
                return [self._chosen(part.strip()) for part in line.split(",") if part.strip()]
            case "approval":
                return {"decisions": self._decisions(line)}
            case "json":
                return value_of(line)
            case _:
                return line or self.initial

    def _chosen(self, words: str) -> Any:
        if words.isdigit() and 1 <= int(words) <= len(self.choices):
            return self.choices[int(words) - 1].value
        for choice in self.choices:
            if words.casefold() in {choice.label.casefold(), choice.label.casefold()[:1] if self._yes_no else ""} - {
                ""
            }:
                return choice.value
        raise ValueError(f"{words!r} is none of them: {self.hint}")

    @property
    def _yes_no(self) -> bool:
        return self.choices == YES_NO

    def _decisions(self, line: str) -> list[dict[str, str]]:
        parts = line.split(",") if self.actions > 1 else [line]
        if len(parts) == 1:
            parts *= self.actions
        if len(parts) != self.actions:
            raise ValueError(f"there are {self.actions} to decide on: {self.hint}")
        return [_decision(part.strip(), self.hint) for part in parts]


def form_of(value: Any) -> Form:
    """The form of a question's value, whatever it is."""
    if isinstance(value, str):
        return Form("text", value)
    if not isinstance(value, Mapping):
        return _as_json(value)
    if isinstance(requests := value.get("action_requests"), list) and requests:
        return _approval(requests)
    wording = next((name for name in WORDS if isinstance(value.get(name), str) and value[name].strip()), None)
    if wording is None:
        return _as_json(value)
    description = value.get("description")
    detail = description if wording != "description" and isinstance(description, str) else ""
    options = next((value[name] for name in CHOICES if isinstance(value.get(name), list) and value[name]), None)
    if options:
        kind: Literal["choice", "choices"] = "choices" if value.get("multiple") is True else "choice"
        return Form(kind, value[wording], detail, tuple(_choice(option) for option in options))
    default = value.get("default")
    if value.get("type") == "boolean" or isinstance(default, bool):
        return Form("choice", value[wording], detail, YES_NO)
    return Form("text", value[wording], detail, initial=default if isinstance(default, str) else "")


def value_of(text: str) -> Any:
    """The JSON that a text is, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _decision(part: str, hint: str) -> dict[str, str]:
    word, reason = re.match(r"(\w*)[\s:–-]*(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
    if word.casefold() in YES and not reason:
        return {"type": "approve"}
    if word.casefold() in NO:
        return {"type": "reject", "message": reason} if reason else {"type": "reject"}
    raise ValueError(f"{part!r} is no decision: {hint}")


def _approval(requests: Sequence[Any]) -> Form:
    actions = [request if isinstance(request, Mapping) else {"name": str(request)} for request in requests]
    one = len(actions) == 1
    prompt = f"May I use “{actions[0].get('name')}”?" if one else "May I use these tools?"
    return Form("approval", prompt, "\n".join(_action(action) for action in actions), actions=len(actions))


def _action(action: Mapping[str, Any]) -> str:
    arguments = action.get("args", action.get("arguments")) or {}
    shown = f"{action.get('name')} {json.dumps(arguments, ensure_ascii=False)}"
    description = action.get("description")
    return f"{shown}\n  {description}" if isinstance(description, str) and description else shown


def _choice(option: Any) -> Choice:
    if not isinstance(option, Mapping):
        return Choice(option if isinstance(option, str) else json.dumps(option), option)
    label = next((option[name] for name in ("label", "title", "name", "value") if option.get(name) is not None), None)
    if label is None:
        return Choice(json.dumps(option, ensure_ascii=False), option)
    value = next((option[name] for name in ("value", "id") if option.get(name) is not None), option)
    return Choice(str(label), value)


def _as_json(value: Any) -> Form:
    return Form("json", "The agent waits for an answer.", json.dumps(value, ensure_ascii=False, indent=2))
