"""Rule 10: an old client cannot take text back, so it is shown one attempt of a request and then its end."""

from __future__ import annotations

import pytest

from unbroken.entrypoints.web.frames import ErrorFrame, FinalFrame, TokenFrame
from unbroken.entrypoints.web.legacy import LegacyView


def token(attempt: int) -> TokenFrame:
    return TokenFrame(request_id="r", value="x", attempt=attempt, offset=0, message_id="m")


@pytest.mark.parametrize("code", ["conflict", "unavailable", "already_ended"])
def test_a_refusal_that_names_a_running_request_does_not_let_another_attempt_in(code: str) -> None:
    view = LegacyView()
    assert view.admits(token(1))
    assert view.admits(ErrorFrame(code=code, message="", retryable=True, request_id="r"))
    assert not view.admits(token(2))
    assert view.admits(token(1))
    assert view.admits(ErrorFrame(code="model_failed", message="", retryable=False, cursor=1, request_id="r"))


def test_a_request_that_has_ended_is_forgotten() -> None:
    view = LegacyView()
    for number in range(3):
        view.admits(TokenFrame(request_id=f"r{number}", value="x", attempt=1, offset=0, message_id="m"))
        end = FinalFrame(
            cursor=number,
            request_id=f"r{number}",
            message="x",
            content=[],
            attempt=1,
            latency_ms=0,
            origin="user",
            waiting=False,
            revised=False,
        )
        assert view.admits(end)
    assert not view._attempts
