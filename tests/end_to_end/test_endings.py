"""Every way a turn can end, over real sockets: cancelled, asking, failed, out of time, out of room, replaced."""

from __future__ import annotations

import asyncio

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.conftest import Serving
from tests.end_to_end.tables import read_thread
from tests.end_to_end.view import Frame
from tests.graphs.speech import is_speech

BOTH_MODES = pytest.mark.parametrize("agent", ["endings", "whole"])
SLOW = "words=40 pause=0.02"


def spoken(client: Client, request: str) -> str:
    return client.view.shown.get(request, "")


async def streaming(client: Client, request: str) -> None:
    await client.until(lambda c: len(spoken(c, request)) > 40)


def refusal(client: Client) -> Frame:
    return client.view.refusals[-1]


@pytest.mark.asyncio
@BOTH_MODES
async def test_a_cancelled_turn_keeps_what_was_shown_and_the_next_one_knows_it(
    serving: Serving, thread: str, agent: str
) -> None:
    async with Client(serving.url, thread=thread, agent=agent) as client, Client(serving.url, thread=thread) as other:
        request = await client.say(SLOW)
        await streaming(client, request)
        await client.cancel(request)
        (end,) = await client.answered(request)
        assert end["type"] == "cancelled"
        assert end["message"].startswith(spoken(client, request))
        following = await client.say("and now?")
        (final,) = await client.answered(following)
        first = final["message"].split("\n\n")[0]
        assert is_speech([("human", SLOW), ("ai", end["message"]), ("human", "and now?")], first)
        assert client.view.faults == []
        await client.send({"type": "cancel", "requestId": request})
        await client.until(lambda c: bool(c.view.refusals))
        assert refusal(client)["code"] == "already_ended"
    assert other.view.frames == [], "another agent's socket on this thread sees nothing"


@pytest.mark.asyncio
async def test_a_waiting_message_is_cancelled_and_the_running_one_goes_on(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread) as client:
        first = await client.say(SLOW)
        second = await client.say("never mind")
        await streaming(client, first)
        await client.cancel(second)
        answered, cancelled = await client.answered(first, second)
        assert (answered["type"], cancelled["type"], cancelled["message"]) == ("final", "cancelled", "")
        assert client.view.faults == []


@pytest.mark.asyncio
async def test_nothing_to_cancel_is_told_by_name(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread) as client:
        await client.send({"type": "cancel", "requestId": "nobody-said-this"})
        await client.until(lambda c: bool(c.view.refusals))
        assert refusal(client)["code"] == "unknown_request"


@pytest.mark.asyncio
@BOTH_MODES
@pytest.mark.parametrize("deaf", ["deaf=3", "call=3"])
async def test_an_agent_deaf_to_its_cancellation_is_stopped_all_the_same(
    serving: Serving, thread: str, agent: str, deaf: str
) -> None:
    async with Client(serving.url, thread=thread, agent=agent) as client:
        request = await client.say(deaf)
        await streaming(client, request)
        await asyncio.sleep(0.2)
        loop = asyncio.get_running_loop()
        before = loop.time()
        await client.cancel(request)
        (end,) = await client.answered(request)
        assert end["type"] == "cancelled"
        assert loop.time() - before < 2.9, "it was not waited for"
        following = await client.say("still there?")
        assert (await client.answered(following))[0]["type"] == "final"
        assert client.view.faults == []


@pytest.mark.asyncio
@BOTH_MODES
async def test_several_questions_are_answered_one_by_one(serving: Serving, thread: str, agent: str) -> None:
    async with Client(serving.url, thread=thread, agent=agent) as client:
        request = await client.say("ask=2")
        (asking,) = await client.answered(request)
        await client.until(lambda c: len(c.view.log) == 3)
        assert asking["waiting"]
        one, two = client.view.log[1:]
        assert [frame["value"] for frame in (one, two)] == [{"question": "number 1?"}, {"question": "number 2?"}]
        first = await client.respond(two["interruptId"], "blue")
        (between,) = await client.answered(first)
        assert (between["waiting"], client.view.log[3]["outcome"]) == (True, "answered")
        last = await client.respond(one["interruptId"], {"any": ["json", None]})
        late = await client.respond(two["interruptId"], "green")
        final, refused = await client.answered(last, late)
        assert "noted 1: {'any': ['json', None]}, 2: blue" in final["message"]
        assert not final["waiting"]
        assert refused["code"] == "question_closed"
        assert client.view.faults == []
        async with Client(serving.url, thread=thread, agent=agent) as late_comer:
            await late_comer.answered(request, first, last, late)
            assert late_comer.view.log == client.view.log
            assert late_comer.view.faults == []


@pytest.mark.asyncio
@BOTH_MODES
async def test_a_message_instead_of_an_answer_supersedes_the_question(
    serving: Serving, thread: str, agent: str
) -> None:
    async with Client(serving.url, thread=thread, agent=agent) as client:
        await client.answered(await client.say("ask=1"))
        await client.until(lambda c: len(c.view.log) == 2)
        (final,) = await client.answered(await client.say("something else"))
        assert client.view.log[2]["outcome"] == "superseded"
        assert final["type"] == "final"
        assert client.view.faults == []


@pytest.mark.asyncio
@BOTH_MODES
async def test_an_outage_that_does_not_pass_ends_in_one_error_after_its_tries(
    serving: Serving, thread: str, agent: str
) -> None:
    async with Client(serving.url, thread=thread, agent=agent) as client:
        request = await client.say("outage fail=3")
        (error,) = await client.answered(request)
        assert (error["code"], error["retryable"], client.view.attempts[request]) == ("model_failed", True, 5)
        assert [f["reason"] for f in client.view.frames if f["type"] == "reset"] == ["started", *["retry"] * 4]
        (final,) = await client.answered(await client.say("still there?"))
        assert final["type"] == "final"
        assert client.view.faults == []


@pytest.mark.asyncio
async def test_a_second_message_is_refused_or_pushes_the_first_aside_as_it_says(serving: Serving, thread: str) -> None:
    async with Client(serving.url, thread=thread) as client:
        first = await client.say(SLOW)
        await streaming(client, first)
        refused = await client.say("only if idle", whenBusy="reject")
        await client.until(lambda c: bool(c.view.refusals))
        assert (refusal(client)["code"], refusal(client)["requestId"]) == ("busy", refused)
        pushing = await client.say("instead", whenBusy="interrupt")
        cancelled, final = await client.answered(first, pushing)
        assert cancelled["type"] == "cancelled"
        assert cancelled["message"]
        told = [("human", SLOW), ("ai", cancelled["message"]), ("human", "instead")]
        assert is_speech(told, final["message"])
        third = await client.say(SLOW)
        await streaming(client, third)
        forgetting = await client.say("instead", whenBusy="rollback")
        forgotten, final = await client.answered(third, forgetting)
        assert forgotten["message"] == ""
        assert is_speech([*told, ("ai", client.view.ends[pushing]["message"]), ("human", "instead")], final["message"])
        assert client.view.faults == []
    stored = await read_thread(serving.database_url, thread)
    assert refused not in {event.request_id for event in stored.events}


@pytest.mark.asyncio
@BOTH_MODES
async def test_an_edited_message_is_answered_as_if_the_old_one_had_not_been(
    serving: Serving, thread: str, agent: str
) -> None:
    async with Client(serving.url, thread=thread, agent=agent) as client:
        one, two, three = [await client.say(text) for text in ("first", "secnod", "third")]
        ends = await client.answered(one, two, three)
        edited = await client.say("second", replaces=two)
        (final,) = await client.answered(edited)
        assert client.view.users[edited]["replaces"] == two
        told = [("human", "first"), *[("ai", text) for text in ends[0]["message"].split("\n\n")], ("human", "second")]
        assert is_speech(told, final["message"].split("\n\n")[0])
        (gone,) = await client.answered(await client.say("no place for me", replaces="nobody"))
        assert gone["code"] == "branch_gone"
        assert client.view.faults == []
    stored = await read_thread(serving.database_url, thread)
    assert [effect.type for effect in stored.log] == ["send_message"] * 4 + ["report_failure"]


@pytest.mark.asyncio
@BOTH_MODES
async def test_an_edit_that_comes_to_nothing_leaves_the_conversation_at_its_place(
    serving: Serving, thread: str, agent: str
) -> None:
    async with Client(serving.url, thread=thread, agent=agent) as client:
        one, two = [await client.say(text) for text in ("first", "second")]
        ends = await client.answered(one, two)
        (error,) = await client.answered(await client.say("fail=0", replaces=two))
        assert error["code"] == "model_failed"
        (final,) = await client.answered(await client.say("third"))
        told = [("human", "first"), *[("ai", text) for text in ends[0]["message"].split("\n\n")], ("human", "third")]
        assert is_speech(told, final["message"].split("\n\n")[0])
        assert client.view.faults == []
