"""What the load takes for an answer, frame by frame."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.load import Answer, WrongAnswer
from benchmarks.recital import words

TEXT = "".join(words(3))


def token(value: str, offset: int | None = None) -> dict[str, Any]:
    return {"type": "token", "requestId": "r", "value": value, "offset": offset}


def final(message: str) -> dict[str, Any]:
    return {"type": "final", "requestId": "r", "message": message, "cursor": 4}


ACCEPTED = {"type": "accepted", "requestId": "r"}
RESET = {"type": "reset", "requestId": "r"}


def taken(frames: list[dict[str, Any]], *, accepts: bool) -> tuple[Answer, list[int]]:
    answer = Answer("r", TEXT, accepts=accepts)
    return answer, [answer.take(frame) for frame in frames]


def test_an_answer_in_one_token_a_frame_is_counted_token_by_token() -> None:
    answer, tokens = taken([*map(token, words(3)), final(TEXT)], accepts=False)
    assert (answer.ended, answer.cursor, tokens) == (True, None, [1, 1, 1, 0])


def test_tokens_that_share_a_frame_are_all_counted() -> None:
    first, *others = words(3)
    frames = [ACCEPTED, RESET, token(first, 0), token("".join(others), len(first)), final(TEXT)]
    answer, tokens = taken(frames, accepts=True)
    assert (answer.ended, answer.cursor, tokens) == (True, 4, [0, 0, 1, 2, 0])


def test_a_message_that_may_be_sent_again_is_no_answer() -> None:
    error = {"type": "error", "requestId": "r", "code": "unavailable", "retryable": True}
    answer, tokens = taken([error], accepts=True)
    assert (answer.refused, answer.ended, tokens) == (True, False, [0])


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*map(token, words(2)), final(TEXT)], id="a token is missing"),
        pytest.param([*map(token, [*words(3), "more "]), final(TEXT)], id="a token too many"),
        pytest.param([*map(token, reversed(words(3))), final(TEXT)], id="tokens change places"),
        pytest.param([*map(token, words(2)), final("".join(words(2)))], id="it agrees with itself, and is too short"),
        pytest.param([{**token("word0 "), "requestId": "other"}], id="a token of somebody else's"),
        pytest.param([{"type": "error", "requestId": "r", "code": "model_failed"}], id="an error"),
    ],
)
def test_a_wrong_answer_is_refused(frames: list[dict[str, Any]]) -> None:
    with pytest.raises(WrongAnswer):
        taken(frames, accepts=False)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([RESET, ACCEPTED], id="a frame before the receipt"),
        pytest.param([{"type": "error", "requestId": "r", "retryable": False}], id="a refusal for good"),
        pytest.param([ACCEPTED, {"type": "error", "requestId": "r", "retryable": True}], id="an answer that failed"),
        pytest.param([ACCEPTED, RESET, token("word0 ", 0), token("word1 ", 7)], id="a hole before a token"),
        pytest.param([ACCEPTED, RESET, token("word0 ", 0), token("word0 ", 0)], id="a token twice"),
    ],
)
def test_what_breaks_the_protocol_is_refused(frames: list[dict[str, Any]]) -> None:
    with pytest.raises(WrongAnswer):
        taken(frames, accepts=True)
