"""Many people at once, two tabs, old clients, tools and failures: what everyone sees, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.conftest import Serving
from tests.end_to_end.tables import read_thread
from tests.end_to_end.view import Frame
from tests.graphs.speech import Said, is_speech

SESSIONS, TURNS = 100, 4


@pytest.mark.asyncio
async def test_a_hundred_sessions_keep_their_order_and_never_mix(serving: Serving) -> None:
    clients = [
        Client(serving.url, thread=f"crowd-{number}", agent="one", user=f"user {number}") for number in range(SESSIONS)
    ]

    async def converse(number: int, client: Client) -> None:
        async with client:
            asked = [await client.say(f"{number}.{turn} words=12") for turn in range(TURNS)]
            ends = await client.answered(*asked)
        assert client.view.faults == []
        assert [end["type"] for end in ends] == ["final"] * TURNS
        assert [client.view.users[request]["seq"] for request in asked] == [1, 2, 3, 4]
        assert [frame["requestId"] for frame in client.view.log] == asked
        conversation: list[Said] = []
        for turn, end in enumerate(ends):
            conversation.append(("human", f"{number}.{turn} words=12"))
            assert is_speech(conversation, end["message"]), f"{number}: {end['message']} after {conversation}"
            conversation.append(("ai", end["message"]))

    await asyncio.gather(*(converse(number, client) for number, client in enumerate(clients)))


@pytest.mark.asyncio
async def test_two_tabs_show_the_same_whoever_of_them_speaks(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread) as one, Client(serving.url, thread=thread) as other:
        first = await one.say("said in one tab")
        second = await other.say("said in the other")
        for tab in (one, other):
            await tab.answered(first, second)
            assert tab.view.faults == []
        assert one.view.users == other.view.users
        assert one.view.shown == other.view.shown
        assert one.view.log == other.view.log
        assert (set(one.view.receipts), set(other.view.receipts)) == ({first}, {second})


@pytest.mark.asyncio
async def test_a_tab_that_comes_in_mid_answer_shows_the_answer_from_its_beginning(
    serving: Serving, thread: str
) -> None:
    async with Client(serving.url, thread=thread) as early:
        request = await early.say("words=30 pause=0.02")
        await early.until(lambda client: len(client.view.shown.get(request, "")) > 40)
        async with Client(serving.url, thread=thread) as late:
            await late.until(lambda client: bool(client.view.shown.get(request)))
            assert [frame["type"] for frame in late.view.frames[:3]] == ["user", "reset", "token"]
            assert late.view.frames[1]["reason"] == "resync"
            assert late.view.frames[2]["offset"] == 0
            await asyncio.gather(early.answered(request), late.answered(request))
    assert early.view.shown == late.view.shown
    assert early.view.faults == late.view.faults == []


@pytest.mark.asyncio
async def test_a_client_of_the_old_protocol_sees_only_its_four_frame_types(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread, cursor=None) as old:
        asked = await old.say("words=12")
        await old.answered(asked)
        failed = await old.say("fail=2")
        await old.answered(failed)
    kinds = [frame["type"] for frame in old.view.frames]
    assert set(kinds) == {"token", "final", "error"}
    tokens = [frame["value"] for frame in old.view.frames if frame["type"] == "token" and frame["requestId"] == asked]
    assert "".join(tokens) == old.view.ends[asked]["message"]


@pytest.mark.asyncio
async def test_a_client_of_the_old_protocol_is_shown_no_second_attempt(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread) as new, Client(serving.url, thread=thread, cursor=None) as old:
        request = await old.say("outage fail=3")
        await asyncio.gather(new.answered(request), old.answered(request))
    assert new.view.attempts[request] > 1, "a provider's outage is tried again"
    assert {frame["attempt"] for frame in old.view.frames if frame["type"] == "token"} == {1}
    assert [frame["type"] for frame in old.view.frames].count("error") == 1


@pytest.mark.asyncio
async def test_a_turn_that_fails_before_it_said_anything_never_enters_the_conversation(
    serving: Serving, thread: str
) -> None:
    async with Client(serving.url, thread=thread) as client:
        asked = [await client.say(text) for text in ("hello", "fail=0", "still there?")]
        hello, failure, still = await client.answered(*asked)
    assert client.view.faults == []
    assert (failure["type"], failure["code"], failure["retryable"]) == ("error", "model_failed", False)
    assert "told to fail" in failure["message"]
    assert is_speech([("human", "hello"), ("ai", hello["message"]), ("human", "still there?")], still["message"])
    stored = await read_thread(serving.database_url, thread)
    assert [effect.type for effect in stored.log] == ["send_message", "report_failure", "send_message"]


@pytest.mark.asyncio
@pytest.mark.parametrize("agent", ["endings", "whole"])
@pytest.mark.parametrize("failing", ["fail=2", "late=2"])
async def test_what_a_failed_turn_had_shown_stays_in_the_conversation(
    serving: Serving, thread: str, agent: str, failing: str
) -> None:
    async with Client(serving.url, thread=thread, agent=agent) as client:
        asked = [await client.say(text) for text in ("hello", failing, "still there?")]
        hello, failure, still = await client.answered(*asked)
    assert client.view.faults == []
    assert (failure["type"], failure["code"]) == ("error", "model_failed")
    shown = [("ai", text) for text in client.view.shown[asked[1]].split("\n\n")]
    said: list[Said] = [("human", "hello"), *_spoken(hello), ("human", failing), *shown, ("human", "still there?")]
    for text in still["message"].split("\n\n"):
        assert is_speech(said, text)
        said.append(("ai", text))


@pytest.mark.asyncio
@pytest.mark.parametrize(("grams", "phase", "result"), [(7, "finished", "7 g"), (9999, "failed", "too heavy")])
async def test_a_tool_is_shown_while_it_works_and_kept_in_the_answer(
    serving: Serving, thread: str, grams: int, phase: str, result: str
) -> None:
    async with Client(serving.url, thread=thread, agent="tool") as client:
        request = await client.say(f"weigh {grams}")
        (final,) = await client.answered(request)
    assert client.view.faults == []
    phases = [frame["phase"] for frame in client.view.frames if frame["type"] == "tool"]
    assert phases == ["started", phase]
    (tool,) = client.view.tools[request].values()
    assert tool["name"] == "weigh"
    calling, told, spoken = final["content"]
    assert calling["tool_calls"][0]["id"] == tool["toolCallId"]
    assert result in str(told["content"])
    conversation = [("human", f"weigh {grams}"), ("ai", ""), ("tool", _text(told))]
    assert is_speech(conversation, final["message"])
    assert _text(spoken) == final["message"]


def _spoken(final: Frame) -> list[Said]:
    return [("ai", text) for text in final["message"].split("\n\n")]


def _text(message: Frame) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)
