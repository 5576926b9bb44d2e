"""Rule 9: bad input gets its named answer, and neither the socket nor anybody's state suffers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.view import Frame
from tests.graphs.speech import is_speech


def message(**fields: Any) -> str:
    return json.dumps({"type": "message", "requestId": "r", "content": "hello"} | fields)


BAD: dict[str, tuple[str | bytes, str, str | None]] = {
    "not JSON": ("{", "bad_json", None),
    "no object": ("[]", "bad_frame", None),
    "no type": ("{}", "bad_frame", None),
    "of an unknown type": ('{"type": "shout"}', "unknown_type", "type"),
    "binary": (b'{"type": "ack", "cursor": 0}', "bad_frame", None),
    "U+0000 in its content": (message(content="a\x00b"), "bad_frame", "content"),
    "half a surrogate pair": ('{"type": "message", "requestId": "r", "content": "\\ud83e"}', "bad_frame", None),
    "without a request id": ('{"type": "message", "content": "hello"}', "bad_frame", None),
    "with a bad request id": (message(requestId="no spaces"), "bad_frame", "requestId"),
    "with a number as content": (message(content=7), "bad_frame", "content"),
    "empty": (message(content=" \n\t"), "empty", "content"),
    "too long": (message(content="x" * (256 * 1024 + 1)), "too_long", "content"),
    "for another thread": (message(threadId="another"), "wrong_thread", "threadId"),
    "ack below zero": ('{"type": "ack", "cursor": -1}', "bad_frame", "cursor"),
    "ack from the future": ('{"type": "ack", "cursor": 1000}', "ack_ahead", "cursor"),
}


async def refusal(client: Client, data: str | bytes) -> Frame:
    known = len(client.view.refusals)
    await client.send_raw(data)
    await client.until(lambda c: len(c.view.refusals) > known)
    return client.view.refusals[-1]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_frame_gets_its_named_answer_and_the_conversation_goes_on(
    memory_server: Server, thread: str, name: str
) -> None:
    data, code, path = BAD[name]
    async with Client(memory_server.url, thread=thread) as client:
        running = await client.say("words=10 pause=0.01")
        await client.until(lambda c: bool(c.view.shown.get(running)))
        error = await refusal(client, data)
        assert (error["code"], error["retryable"]) == (code, False)
        if path is not None:
            assert error["path"] == path
        (answer,) = await client.answered(running)
        (after,) = await client.answered(await client.say("and after it?"))
    assert client.connected == 1
    assert client.view.faults == []
    history = [("human", "words=10 pause=0.01"), ("ai", answer["message"]), ("human", "and after it?")]
    assert is_speech(history, after["message"]), "what was refused never reached the agent"


@pytest.mark.asyncio
async def test_the_same_request_with_another_body_is_a_conflict_and_with_the_same_a_duplicate(
    memory_server: Server, thread: str
) -> None:
    async with Client(memory_server.url, thread=thread) as client:
        request = await client.say("said once")
        await client.answered(request)
        error = await refusal(client, message(requestId=request, content="said differently"))
        assert (error["code"], error["requestId"]) == ("conflict", request)
        await client.say("said once", request)
        await client.until(lambda c: c.view.frames[-1]["type"] == "accepted")
        assert client.view.frames[-1] == {"type": "accepted", "requestId": request, "seq": 1, "duplicate": True}
        await client.answered(await client.say("next"))
    assert client.view.faults == []
    assert len(client.view.log) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("length", [20 << 20, (1 << 20) + 1], ids=["20 MiB", "just over 1 MiB"])
async def test_an_oversized_frame_closes_only_the_socket_it_came_by(
    memory_server: Server, thread: str, length: int
) -> None:
    async with Client(memory_server.url, thread=thread) as bystander:
        running = await bystander.say("words=20 pause=0.02")
        async with Client(memory_server.url, thread=thread) as offender:
            offender.write(b"\x81\xff" + length.to_bytes(8) + b"mask" + b"x" * 10_000)
            assert (await offender.ended())[0] == 1009, "refused at its header, before the rest is sent"
        async with Client(memory_server.url, thread=thread) as offender:
            await offender.send_raw("x" * length)
            assert (await offender.ended())[0] in {1009, None}, "None: still writing when the server hung up"
        await bystander.answered(running)
    assert bystander.view.faults == []
    assert len(bystander.view.log) == 1


@pytest.mark.asyncio
async def test_invalid_utf8_closes_with_1007_and_the_accepted_message_is_answered(
    memory_server: Server, thread: str
) -> None:
    async with Client(memory_server.url, thread=thread) as offender:
        running = await offender.say("words=20 pause=0.02")
        await offender.until(lambda c: running in c.view.receipts)
        await offender.send_raw_text(b'{"type": "message", "requestId": "x", "content": "\xff\xfe"}')
        assert (await offender.ended())[0] == 1007
    async with Client(memory_server.url, thread=thread) as client:
        await client.answered(running)
        assert list(client.view.users) == [running]


@pytest.mark.asyncio
async def test_twenty_bad_frames_close_with_4429_and_the_accepted_message_is_answered(
    memory_server: Server, thread: str
) -> None:
    async with Client(memory_server.url, thread=thread) as offender:
        running = await offender.say("words=20 pause=0.02")
        for _ in range(20):
            await offender.send_raw("{")
        assert (await offender.ended())[0] == 4429
        assert len(offender.view.refusals) == 20
    async with Client(memory_server.url, thread=thread) as client:
        await client.answered(running)


@pytest.mark.asyncio
async def test_a_hundred_frames_too_fast_close_with_4429_after_too_fast_errors(
    memory_server: Server, thread: str
) -> None:
    async with Client(memory_server.url, thread=thread) as offender:
        for _ in range(2000):
            if offender.closes:
                break
            await offender.send_raw('{"type": "ack", "cursor": 0}')
        assert (await offender.ended())[0] == 4429
    codes = {error["code"] for error in offender.view.refusals}
    assert codes == {"too_fast"}
    assert all(error["retryable"] for error in offender.view.refusals)


@pytest.mark.asyncio
async def test_a_full_queue_refuses_for_now_and_answers_everything_it_accepted(
    memory_server: Server, thread: str
) -> None:
    async with Client(memory_server.url, thread=thread) as client:
        asked = [await client.say("words=0 pause=0.001" if n else "words=40 pause=0.03") for n in range(110)]
        await client.until(lambda c: len(c.view.refusals) + len(c.view.receipts) == len(asked))
        assert {error["code"] for error in client.view.refusals} == {"queue_full"}
        refused = {error["requestId"] for error in client.view.refusals}
        assert len(refused) == 10
        await client.answered(*(request for request in asked if request not in refused))
    assert client.view.faults == []
    assert len(client.view.log) == 100


@pytest.mark.asyncio
async def test_a_client_whose_cancels_come_too_late_is_no_abuser(memory_server: Server, thread: str) -> None:
    async with Client(memory_server.url, thread=thread) as client:
        request = await client.say("hello")
        await client.answered(request)
        for _ in range(30):
            await client.send({"type": "cancel", "requestId": request})
        await client.until(lambda c: len(c.view.refusals) == 30)
        assert {frame["code"] for frame in client.view.refusals} == {"already_ended"}
        await client.answered(await client.say("still here"))
