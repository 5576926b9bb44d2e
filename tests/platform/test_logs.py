"""What a log line says, and what it never does."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unbroken.application.log_context import working_for
from unbroken.domain.errors import AgentRaised, InvalidValue, StoreUnavailable
from unbroken.entrypoints.logs import configure
from unbroken.entrypoints.settings import Settings

SECRET = "what she said"
OURS = logging.getLogger("unbroken.application")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = threading.excepthook, sys.unraisablehook
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    threading.excepthook, sys.unraisablehook = hooks


Read = Callable[[], str]
Begin = Callable[[], Read]


@pytest.fixture(params=["text", "json"])
def logging_begins(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Begin:
    """To be called in the test itself: the stream that pytest reads is another one before it."""

    def begin() -> Read:
        configure(Settings.model_validate({"log_format": request.param}))
        return lambda: capsys.readouterr().err

    return begin


def raised(words: str) -> Exception:
    said_so = words
    try:
        raise RuntimeError(said_so)
    except RuntimeError as error:
        try:
            raise ValueError(f"cannot use {said_so!r}") from error
        except ValueError as outer:
            return outer


def test_a_traceback_shows_types_and_places_and_neither_words_nor_variables(logging_begins: Begin) -> None:
    logged = logging_begins()
    OURS.error("a loop failed", exc_info=raised(SECRET))
    said = logged()
    for part in ("a loop failed", "ValueError", "from RuntimeError", "test_logs.py", " in raised"):
        assert part in said
    assert SECRET not in said


@pytest.mark.parametrize("error", [ValueError(SECRET), AgentRaised(SECRET), InvalidValue("value", SECRET)])
def test_an_exception_in_a_line_is_named_where_it_may_quote_somebody(logging_begins: Begin, error: Exception) -> None:
    logged = logging_begins()
    OURS.warning("cannot go on: %s", error)
    said = logged()
    assert f"cannot go on: {type(error).__name__}" in said
    assert SECRET not in said


def test_what_the_store_complains_of_is_said_in_full(logging_begins: Begin) -> None:
    logged = logging_begins()
    OURS.warning("the lease waits: %s", StoreUnavailable("the database did not answer"))
    assert "the lease waits: the database did not answer" in logged()


@pytest.mark.parametrize("library", ["langgraph.pregel._retry", "langchain_core.callbacks", "httpx", "openai._base"])
def test_of_a_library_that_is_handed_messages_only_the_place_is_told(logging_begins: Begin, library: str) -> None:
    logged = logging_begins()
    logging.getLogger(library).error(f"trying again after {SECRET}", exc_info=raised(SECRET))  # noqa: G004
    said = logged()
    assert "test_logs.py line" in said
    assert "ValueError" in said
    assert SECRET not in said


def test_a_forgotten_task_a_warning_and_a_thread_keep_what_they_hold_to_themselves(logging_begins: Begin) -> None:
    logged = logging_begins()
    future = f"Task exception was never retrieved\nfuture: <Task exception=ValueError({SECRET!r})>"
    logging.getLogger("asyncio").error(future, exc_info=raised(SECRET))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"unexpected input: {SECRET}", UserWarning, stacklevel=1)

    def failing() -> None:
        raise raised(SECRET)

    thread = threading.Thread(target=failing, name="a-node")
    thread.start()
    thread.join()
    said = logged()
    for part in ("Task exception was never retrieved", "UserWarning at", "a-node"):
        assert part in said
    assert SECRET not in said


def test_the_driver_s_tracebacks_are_one_line(logging_begins: Begin) -> None:
    logged = logging_begins()
    logging.getLogger("asyncpg.pool").warning("Failed to restore the pool", exc_info=raised("no such socket"))
    (line,) = logged().splitlines()
    assert "ValueError at test_logs.py:" in line


def test_a_client_s_bad_utf8_is_no_error_of_the_server_s(
    logging_begins: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uvicorn", "uvicorn.error"):  # a server in this process may have set up its own
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    logged = logging_begins()
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        server = logging.getLogger("uvicorn.error")
        server.error("Invalid UTF-8 sequence received from client.", exc_info=error)
        server.error("Exception in ASGI application", exc_info=error)
    said = logged()
    assert "Invalid" not in said
    assert "Exception in ASGI application" in said


def test_at_debug_everything_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings.model_validate({"log_level": "debug"}))
    OURS.warning("cannot go on: %s", ValueError(SECRET), exc_info=raised(SECRET))
    assert capsys.readouterr().err.count(SECRET) == 3


def test_a_line_names_whom_the_code_works_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings.model_validate({"log_format": "json"}))
    with working_for(connection="c1", session="ann:demo:t1"):
        OURS.info("heard")
        with working_for(request="r1", connection=None):
            OURS.info("working", extra={"seq": 7})
    OURS.info("alone")
    heard, working, alone = [_ids(line) for line in capsys.readouterr().err.splitlines()]
    assert heard == {"connection": "c1", "session": "ann:demo:t1"}
    assert working == {"session": "ann:demo:t1", "request": "r1", "seq": 7}
    assert alone == {}


def _ids(line: str) -> dict[str, Any]:
    always = {"event", "level", "logger", "timestamp"}
    return {name: value for name, value in json.loads(line).items() if name not in always}
