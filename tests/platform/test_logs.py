"""What the log says when something breaks, and what it must never say."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from unbroken.entrypoints.logs import configure
from unbroken.entrypoints.settings import Settings


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_in_the_log_shows_where_and_never_what_a_variable_held(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(Settings.model_validate({"log_format": log_format}))
    said = "a person's secret".title()
    try:
        raise RuntimeError("the place is known") if said else AssertionError
    except RuntimeError:
        logging.getLogger("unbroken").exception("a loop failed")
    logged = capsys.readouterr().err
    assert "the place is known" in logged
    assert "test_a_traceback_in_the_log" in logged
    assert said not in logged
