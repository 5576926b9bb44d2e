"""Reconnecting in mid-answer: the exact suffix, or everything from the beginning; never a hole, never a repeat."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect

from tests.end_to_end.client import PATIENCE_S, Client
from tests.end_to_end.conftest import Serving
from tests.end_to_end.view import Frame, units

LONG = "words=60 pause=0.02"


async def joined(serving: Serving, thread: str, count: int, **query: str | int) -> list[Frame]:
    """The first frames of a connection with this query."""
    url = f"{serving.url}/api/chat/ws?{urlencode({'threadId': thread, 'cursor': 0} | query)}"
    async with connect(url, proxy=None) as socket:
        return [json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S)) for _ in range(count)]


@pytest.mark.asyncio
async def test_a_cut_client_goes_on_at_its_offset_without_a_reset(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread, stays=True) as client:
        request = await client.say(LONG)
        for connection in range(1, 6):
            length = units(client.view.shown.get(request, "")) + 20
            await client.until(lambda c, least=length: units(c.view.shown.get(request, "")) > least)  # type: ignore[misc]
            client.cut()
            await client.until(lambda c, number=connection: c.connected > number)  # type: ignore[misc]
        (final,) = await client.answered(request)
    assert client.connected == 6
    assert client.view.faults == []
    assert [frame["type"] for frame in client.view.frames].count("reset") == 1
    tokens = [frame["value"] for frame in client.view.frames if frame["type"] == "token"]
    assert "".join(tokens) == final["message"], "no token came twice, and none was left out"


@pytest.mark.asyncio
async def test_resume_gives_what_follows_the_offset_and_rounds_down_inside_a_surrogate_pair(
    serving: Serving, thread: str
) -> None:
    async with Client(serving.url, thread=thread) as client:
        request = await client.say(LONG)
        await client.until(lambda c: "🧭" in c.view.shown.get(request, ""))
        shown = client.view.shown[request]
        inside = units(shown[: shown.index("🧭")]) + 1
        user, token = await joined(serving, thread, 2, requestId=request, attempt=1, offset=inside)
        assert (user["type"], token["type"]) == ("user", "token")
        assert token["offset"] == inside - 1
        assert token["value"].startswith("🧭")
        await client.answered(request)


@pytest.mark.asyncio
@pytest.mark.parametrize("wrong", [{"offset": 10**6}, {"attempt": 0, "offset": 5}])
async def test_a_position_that_is_not_in_the_running_attempt_gets_a_reset_and_the_text_from_its_beginning(
    serving: Serving, thread: str, wrong: dict[str, int]
) -> None:
    async with Client(serving.url, thread=thread) as client:
        request = await client.say(LONG)
        await client.until(lambda c: len(c.view.shown.get(request, "")) > 40)
        query: dict[str, str | int] = {"requestId": request, "attempt": 1, **wrong}
        user, reset, token = await joined(serving, thread, 3, **query)
        assert (user["type"], reset["type"], token["type"]) == ("user", "reset", "token")
        assert (reset["attempt"], token["offset"]) == (1, 0)
        await client.answered(request)
    assert client.view.faults == []


@pytest.mark.asyncio
async def test_whoever_shows_a_later_attempt_than_the_running_one_is_told_the_end_only(
    serving: Serving, thread: str
) -> None:
    async with Client(serving.url, thread=thread) as client:
        request = await client.say(LONG)
        await client.until(lambda c: len(c.view.shown.get(request, "")) > 40)
        user, end = await joined(serving, thread, 2, requestId=request, attempt=7, offset=5)
        (final,) = await client.answered(request)
        assert (user["type"], end) == ("user", final)


@pytest.mark.asyncio
async def test_resuming_an_answer_that_has_ended_gives_its_end_from_the_log(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread) as client:
        request = await client.say("words=3")
        (final,) = await client.answered(request)
    user, end = await joined(serving, thread, 2, requestId=request, attempt=1, offset=4)
    assert (user["type"], end) == ("user", final)
