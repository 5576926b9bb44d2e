"""A graph that uses all that LangGraph offers, over real sockets: what is shown beside its text, and what is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client.terminal import CTRL_D, Terminal
from tests.end_to_end.client import Client
from tests.end_to_end.conftest import Serving
from tests.end_to_end.view import BESIDE, Frame

pytestmark = pytest.mark.asyncio

THOUGHTS = ["The tide decides. I should measure it first.", "Both of them answered, 2 notes in all."]
WRITTEN = [
    ([], {"measuring": "Ushant", "done": 0.5}),
    ([], {"measuring": "Ushant", "done": 1.0}),
    (["errand"], "asking the north"),
    (["errand"], "asking the south"),
]
TEXT = "Let me measure the tide. \n\nHigh water at Ushant, and **both lights** are lit. "


def by_message(frames: list[Frame], kind: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for frame in frames:
        if frame["type"] == kind:
            texts[frame["messageId"]] = texts.get(frame["messageId"], "") + frame["value"]
    return texts


def written(frames: list[Frame]) -> list[tuple[list[str], Any]]:
    told = [frame for frame in frames if frame["type"] == "custom"]
    return [([step.partition(":")[0] for step in frame["namespace"]], frame["value"]) for frame in told]


async def test_everything_a_run_shows_is_shown_and_what_the_state_holds_is_kept(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread, agent="ranging") as client:
        request = await client.say("how is the tide?")
        (final,) = await client.answered(request)
    assert client.view.faults == []
    beside = client.view.beside[request]
    assert [text.strip() for text in by_message(beside, "reasoning").values()] == THOUGHTS
    assert sorted(written(beside), key=str) == sorted(WRITTEN, key=str)
    asides = [frame for frame in beside if frame["type"] == "aside"]
    assert {tuple(frame["namespace"]) for frame in asides} == {
        tuple(frame["namespace"]) for frame in beside if frame["type"] == "custom" and frame["namespace"]
    }
    sides = sorted(by_message(beside, "aside").values())
    assert [text.split()[1] for text in sides] == ["north", "south"]
    assert final["message"] == TEXT == client.view.shown[request]
    plan, measured, report = final["content"]
    assert [block["type"] for block in plan["content"]] == ["reasoning", "text"]
    assert [block["type"] for block in report["content"]] == ["reasoning", "text", "image"]
    assert measured["content"] == "high water in Ushant"
    assert set(by_message(beside, "reasoning")) == {plan["id"], report["id"]}


async def test_a_new_socket_is_told_all_of_it_again_from_the_first(serving: Serving, thread: str) -> None:
    for _ in range(10):  # until the answer is still under way when the socket is back
        async with Client(serving.url, thread=thread, agent="ranging", stays=True) as client:
            request = await client.say("how is the tide? pause=0.05")
            await client.until(lambda c: len(written(c.view.beside.get(request, []))) >= 2)  # noqa: B023
            client.cut()
            await client.until(lambda c: c.connected > 1)
            await client.answered(request)
        assert client.view.faults == []
        if beside := client.view.beside.get(request):
            assert sorted(written(beside), key=str) == sorted(WRITTEN, key=str)
            assert [text.strip() for text in by_message(beside, "reasoning").values()] == THOUGHTS
            return
    pytest.fail("the socket never came back in time")


async def test_a_client_of_the_old_protocol_sees_none_of_it(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread, agent="ranging", cursor=None) as client:
        await client.say("how is the tide?")
        await client.until(lambda c: any(frame["type"] == "final" for frame in c.view.frames))
    assert not BESIDE & {frame["type"] for frame in client.view.frames}
    assert "".join(frame["value"] for frame in client.view.frames if frame["type"] == "token") == TEXT


async def test_a_terminal_shows_it_beside_the_answer(serving: Serving, thread: str) -> None:
    async with Terminal(serving.url, "--agent", "ranging", thread=thread) as terminal:
        terminal.type("how is the tide? pause=0.02\n")
        await terminal.sees("⋯ thinking", '• {"measuring": "Ushant", "done": 0.5}', "• errand: asking the north")
        await terminal.sees("are lit.", "│ errand: The north light is lit")
        terminal.type(CTRL_D)
        assert await terminal.ended() == 0
