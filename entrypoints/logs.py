"""Log lines for people or for machines: one place decides how they look, whom they name, and what they never say."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from unbroken.application.log_context import worked_for
from unbroken.entrypoints.log_discretion import discreet, exception_of, place, places
from unbroken.entrypoints.settings import Settings

QUIET: Final = ("alembic", "httpcore", "httpx", "openai", "uvicorn.error")
"""Nothing below a warning of theirs is news."""
ONE_LINE: Final = ("asyncpg",)
"""Whose tracebacks say nothing that their line does not: the database went away."""

log = logging.getLogger(__name__)


def configure(settings: Settings, *, worker: int | None = None) -> None:
    """Everything to stderr, in one format: text for people, JSON for machines, one object a line.

    Each line names the session, event, request and connection it is about, as far as they are known. What people or
    models said, and the words of exceptions, which may repeat it, are shown at log level `debug` only. `worker`: which
    of several processes this is; each line says it.
    """
    handler = _Handler(sys.stderr)
    as_json, discretion = settings.log_format == "json", settings.log_level != "debug"
    handler.setFormatter(_Formatter(json=as_json, discretion=discretion, worker=worker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in QUIET:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("uvicorn.error").addFilter(_not_the_client_s_fault)
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _unraisable


def _not_the_client_s_fault(record: logging.LogRecord) -> bool:
    """A frame that is no UTF-8 is answered with 1007. The server underneath calls it an error of its own, with a
    traceback: anybody could fill the log up with it. And a stream of events that is left incomplete, because its reader
    is to come again, it takes for one that was forgotten."""
    error = record.exc_info[1] if record.exc_info else None
    if str(record.msg).startswith("ASGI callable returned without completing"):
        return False
    return not (isinstance(error, UnicodeDecodeError) and str(record.msg).startswith("Invalid UTF-8"))


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """The standard library would show what the line was given, words and all."""
        with suppress(Exception):
            about = (record.name, record.filename, record.lineno, place(sys.exception()))
            words = "a line of %s at %s:%d was lost: %s"
            lost = logging.LogRecord(__name__, logging.WARNING, record.pathname, record.lineno, words, about, None)
            self.stream.write(self.format(lost) + self.terminator)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def __init__(self, *, json: bool, discretion: bool, worker: int | None = None) -> None:
        self._discretion = discretion
        self._process = {} if worker is None else {"worker": worker}
        shared: list[Processor] = [
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            self._whom_for,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ]
        # structlog's own choice of formatter shows every frame's variables, in tests and in people's terminals.
        plain = structlog.dev.plain_traceback
        renderer: Processor = (
            structlog.processors.JSONRenderer()
            if json
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        )
        exceptions: list[Processor] = [self._exception, *([structlog.processors.format_exc_info] if json else [])]
        super().__init__(foreign_pre_chain=shared, processors=[self.remove_processors_meta, *exceptions, renderer])

    def format(self, record: logging.LogRecord) -> str:
        return super().format(discreet(record) if self._discretion else record)

    def _whom_for(self, logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> EventDict:
        return {**self._process, **worked_for(), **event}

    def _exception(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """What is left of a traceback: all of it at `debug`, else its places, or where nobody needs them, the last."""
        error = exception_of(event.get("exc_info"))
        if error is None:
            return event
        if str(event.get("logger", "")).startswith(ONE_LINE):
            del event["exc_info"]
            event["error"] = place(error)
        elif self._discretion:
            del event["exc_info"]
            event["exception"] = places(error)
        return event


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
        name = failure.thread.name if failure.thread else "?"
        log.error("the thread %r failed", name, exc_info=failure.exc_value)


def _unraisable(failure: sys.UnraisableHookArgs) -> None:
    if isinstance(failure.exc_value, KeyboardInterrupt):
        return  # a signal that `stopping` has noted, and raises again at the next step
    if failure.exc_value is not None:
        log.error("an exception had nowhere to go", exc_info=failure.exc_value)
