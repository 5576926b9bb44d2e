"""What people said stays out of the log: exceptions and other people's libraries repeat it without being asked.

A provider's error quotes the prompt, a validation error its input, a retrying library both. So unless the log level is
`debug`, a line says of an exception what it is and where it came from, never its words, if it was not us who wrote
them; and of a library that is handed messages, only which line of it spoke.
"""

from __future__ import annotations

import logging
import re
import traceback
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from unbroken.adapters.postgres.embedded_errors import EmbeddedError
from unbroken.domain.errors import InvalidValue, TurnFailed, UnbrokenError

HANDED_MESSAGES: Final = ("anthropic", "httpcore", "httpx", "langchain", "langgraph", "langsmith", "openai", "pydantic")
"""Packages whose log lines may quote what they were handed; any package whose name begins so counts."""
OUR_OWN: Final = (UnbrokenError, EmbeddedError)
QUOTING: Final = (InvalidValue, TurnFailed)
"""Of ours, those that repeat somebody else's words."""
WARNING: Final = re.compile(r"^(\S+?:\d+): (\w+):")
FRAMES: Final = 40
"""The innermost ones of a traceback that are shown."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def discreet(record: logging.LogRecord) -> logging.LogRecord:
    """The record without anybody's words; its traceback is left to `places`."""
    shown = copy(record)
    package = record.name.partition(".")[0]
    if package.startswith(HANDED_MESSAGES):
        shown.msg, shown.args = "%s line %d has something to say: see log level debug", (record.filename, record.lineno)
    elif record.name == "py.warnings":
        place = WARNING.match(record.getMessage())
        shown.msg, shown.args = (f"{place[2]} at {place[1]}", ()) if place else ("a warning", ())
    elif record.name == "asyncio":
        shown.msg, shown.args = record.getMessage().partition("\n")[0], ()
    elif isinstance(record.args, tuple):
        shown.args = tuple(named(value) if isinstance(value, BaseException) else value for value in record.args)
    return shown


def named(error: BaseException) -> str:
    """What an exception is, in its own words only where those are ours."""
    if isinstance(error, OUR_OWN) and not isinstance(error, QUOTING):
        return str(error)
    return type(error).__name__


def places(error: BaseException) -> str:
    """The traceback of an exception and of its causes: types and places, no words and no variables."""
    lines: list[str] = []
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        frames = traceback.extract_tb(current.__traceback__)[-FRAMES:]
        lines.append(f"{'from ' if seen else ''}{type(current).__name__}")
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(frames)]
        seen.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n".join(lines)


def place(error: BaseException | None) -> str:
    """The same in a few words: what it is, and where it was raised."""
    if error is None:
        return "no exception"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{where}"


def exception_of(exc_info: Any) -> BaseException | None:
    """Of what a log call was given as `exc_info`."""
    if isinstance(exc_info, BaseException):
        return exc_info
    return exc_info[1] if isinstance(exc_info, tuple) else None
