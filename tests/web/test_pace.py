"""Text goes out token by token while a process has time for it, and in larger frames when it has not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from litestar.exceptions import WebSocketDisconnect

from unbroken.application.deliveries import Delivery, ShowReset, ShowText
from unbroken.domain.session import SessionKey
from unbroken.domain.stream_parts import TextPart
from unbroken.entrypoints.web.codec import DEFAULT_LIMITS
from unbroken.entrypoints.web.connection import Connection
from unbroken.entrypoints.web.pace import LONGEST_REST_S, TEXTS_PER_S, Pace

TEXT = ShowText("r", 1, TextPart(0, "word ", "m"), 0)
RESET = ShowReset("r", 1, "started")


def frames_of(connections: int, tokens_per_s: float, seconds: float) -> int:
    """Of each connection on average, if a model speaks on all of them at once."""
    pace, sent = Pace(), 0
    rests_until = [0.0] * connections
    for token in range(round(tokens_per_s * seconds)):
        now_s = token / tokens_per_s
        for connection in range(connections):
            if now_s >= rests_until[connection]:
                sent += 1
                rests_until[connection] = now_s + pace.rest_s(now_s)
    return sent // connections


def test_while_there_is_time_every_token_is_a_frame() -> None:
    assert frames_of(1, 100, 1) == 100
    assert frames_of(8, 100, 1) == 100


def test_many_share_what_one_process_sends_and_nobody_waits_for_long() -> None:
    share = TEXTS_PER_S / 100
    assert share * 0.8 <= frames_of(100, 100, 1) <= share * 1.2
    assert frames_of(5_000, 100, 1) >= 0.9 / LONGEST_REST_S


def test_a_burst_is_forgotten() -> None:
    pace = Pace()
    assert max(pace.rest_s(1.0) for _ in range(10_000)) == pytest.approx(LONGEST_REST_S)
    assert pace.rest_s(1.0 + LONGEST_REST_S) == 0.0


class Following:
    """Says some things, then nothing any more."""

    def __init__(self, *said: list[Delivery]) -> None:
        self._said = [*said]
        self.rests: list[float] = []

    async def next(self) -> list[Delivery]:
        if self._said:
            return self._said.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)


class Socket:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message["text"])

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "websocket.disconnect"}


class Busy(Pace):
    def rest_s(self, now_s: float) -> float:
        return 0.03


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("pace", "said", "rests"),
    [
        (Busy(), [[RESET, TEXT]], [0.03]),
        (Busy(), [[RESET], []], []),
        (Pace(), [[TEXT], [TEXT]], []),
    ],
)
async def test_a_connection_rests_after_text_if_its_process_is_busy(
    pace: Pace, said: list[list[Delivery]], rests: list[float]
) -> None:
    following, socket = Following(*said), Socket()
    await over(socket, following, pace).run()
    assert following.rests == rests
    assert len(socket.sent) == sum(map(len, said))


class Left(Socket):
    """The client has gone, and only who sends has noticed."""

    async def send(self, message: dict[str, Any]) -> None:
        raise WebSocketDisconnect(detail="gone")

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.asyncio
async def test_a_client_that_left_while_something_was_sent_to_it_has_left_and_nothing_more() -> None:
    await over(Left(), Following([RESET, TEXT]), Pace()).run()


def over(socket: Socket, following: Following, pace: Pace) -> Connection:
    nobody = cast("Any", None)
    return Connection(
        cast("Any", socket),
        SessionKey("user", "agent", "thread"),
        cast("Any", following),
        accept=nobody,
        cancel=nobody,
        acknowledge=nobody,
        limits=DEFAULT_LIMITS,
        frames_per_s=10,
        allowance=nobody,
        pace=pace,
        legacy=False,
    )
