from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidURI

from tests.client.model_server import Frame, Reader, agrees
from tests.client.scripted_server import ScriptedServer
from unbroken.entrypoints.client.backoff import Backoff
from unbroken.entrypoints.client.connection import ChatClient, ChatClosed

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().serving() as server:
        yield server


def client(server: ScriptedServer, **options: Any) -> ChatClient:
    options.setdefault("backoff", Backoff(first_s=0.01, cap_s=0.05))
    options.setdefault("ack_every_s", 0.02)
    return ChatClient(server.url, "t1", **options)


def shows(chat: ChatClient, request_id: str, text: str) -> Any:
    def holds() -> bool:
        turn = chat.conversation.turn(request_id)
        return turn is not None and turn.text == text

    return holds


async def begin(server: ScriptedServer, chat: ChatClient) -> str:
    """Say something, and let the server say "one " of its answer."""
    request_id = await chat.send("hi")
    await server.until(lambda: server.model.waiting)
    await server.let(server.model.start, lambda: server.model.say("one "))
    await chat.until(shows(chat, request_id, "one "), 5)
    return request_id


async def test_what_is_said_is_answered(server: ScriptedServer) -> None:
    frames: list[str] = []
    async with client(server, on_frame=lambda frame, _: frames.append(frame["type"])) as chat:
        request_id = await begin(server, chat)
        await server.let(lambda: server.model.say("two"), server.model.finish)
        turn = await chat.ended(request_id, 5)
        assert (turn.outcome, turn.text) == ("answered", "one two")
    assert frames == ["accepted", "user", "reset", "token", "token", "final"]
    assert server.queries == [{"threadId": "t1", "cursor": "0"}]


async def test_agent_and_user_are_named_in_the_query(server: ScriptedServer) -> None:
    async with client(server, agent_id="my agent", user_id="ü") as chat:
        await chat.until(lambda: chat.connected, 5)
    assert server.queries == [{"threadId": "t1", "agentId": "my agent", "userId": "ü", "cursor": "0"}]


async def test_a_lost_socket_is_resumed_where_the_text_ends(server: ScriptedServer) -> None:
    async with client(server) as chat:
        request_id = await begin(server, chat)
        chat.drop()
        await chat.until(lambda: chat.connections == 2, 5)
        await server.let(lambda: server.model.say("two"))
        await chat.until(shows(chat, request_id, "one two"), 5)
        await server.let(server.model.finish)
        await chat.ended(request_id, 5)
        agrees(chat.conversation, server.model)
    resumed = {"threadId": "t1", "cursor": "0", "requestId": request_id, "attempt": "1", "offset": "4"}
    assert server.queries[1] == resumed


async def test_an_answer_that_ended_meanwhile_is_read_from_the_log(server: ScriptedServer) -> None:
    async with client(server) as chat:
        request_id = await begin(server, chat)
        server.refuse.append(HTTPStatus.SERVICE_UNAVAILABLE)
        chat.drop()
        await server.let(lambda: server.model.say("two"), server.model.finish)
        assert (await chat.ended(request_id, 5)).text == "one two"
    assert len(server.queries) == 3


async def test_a_message_without_receipt_is_sent_again_on_the_next_socket(server: ScriptedServer) -> None:
    def lose_the_first(reader: Reader, frame: Frame) -> None:
        if len(server.received) == 1:
            server.sockets[-1].transport.abort()
        else:
            reader.receive(frame)

    server.receive = lose_the_first
    async with client(server) as chat:
        request_id = await chat.send("hi")
        await server.until(lambda: server.model.waiting)
        await server.let(server.model.start, server.model.finish)
        await chat.ended(request_id, 5)
    messages = [frame for frame in server.received if frame["type"] == "message"]
    assert [frame["requestId"] for frame in messages] == [request_id, request_id]
    assert len(server.model.events) == 1


async def test_a_message_without_receipt_is_sent_again_on_the_same_socket(server: ScriptedServer) -> None:
    server.receive = lambda reader, frame: reader.receive(frame) if len(server.received) > 1 else None
    async with client(server, resend_after_s=0.05) as chat:
        await chat.send("hi")
        await server.until(lambda: server.model.waiting)
        assert chat.connections == 1


async def test_a_message_refused_for_now_is_sent_again(server: ScriptedServer) -> None:
    def too_full(reader: Reader, frame: Frame) -> None:
        error = {"type": "error", "code": "queue_full", "message": "full", "retryable": True}
        if len(server.received) == 1:
            reader.frames.append(error | {"requestId": frame["requestId"]})
        else:
            reader.receive(frame)

    server.receive = too_full
    async with client(server) as chat:
        await chat.send("hi")
        await server.until(lambda: server.model.waiting)


async def test_a_message_refused_for_good_is_over(server: ScriptedServer) -> None:
    error = {"type": "error", "code": "too_long", "message": "no", "retryable": False}
    server.receive = lambda reader, frame: reader.frames.append(error | {"requestId": frame["requestId"]})
    async with client(server) as chat:
        turn = await chat.ended(await chat.send("hi"), 5)
        assert turn.phase == "refused"
        assert chat.conversation.unsent() == []


async def test_what_was_said_before_there_was_a_server_is_answered() -> None:
    server = ScriptedServer()
    async with server.serving():
        url = server.url
    port = int(url.rpartition(":")[2])
    async with ChatClient(url, "t1", backoff=Backoff(first_s=0.01, cap_s=0.05)) as chat:
        await chat.send("hi")
        async with server.serving(port):
            await server.until(lambda: server.model.waiting)


@pytest.mark.parametrize("code", [1000, 1007, 1009, 4400, 4401, 4403, 4404])
async def test_a_close_for_good_ends_the_client_with_its_reason(server: ScriptedServer, code: int) -> None:
    server.hang_up.append((code, "because"))
    async with client(server) as chat:
        with pytest.raises(ChatClosed, match="because") as closed:
            await chat.closed()
        assert closed.value.code == code
        with pytest.raises(ChatClosed):
            await chat.send("hi")
    assert len(server.queries) == 1


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4429, 4999])
async def test_after_any_other_close_the_client_comes_back(server: ScriptedServer, code: int) -> None:
    server.hang_up.append((code, "later"))
    async with client(server) as chat:
        await chat.until(lambda: chat.connections == 2, 5)


@pytest.mark.parametrize(("status", "comes_back"), [(404, False), (403, False), (429, True), (503, True)])
async def test_a_refused_handshake_is_tried_again_only_where_it_may_help(
    server: ScriptedServer, status: int, comes_back: bool
) -> None:
    server.refuse.append(HTTPStatus(status))
    async with client(server) as chat:
        if comes_back:
            await chat.until(lambda: chat.connected, 5)
        else:
            with pytest.raises(ChatClosed, match=str(status)):
                await chat.closed()


async def test_a_missing_frame_makes_the_client_read_the_log_again(server: ScriptedServer) -> None:
    async with client(server) as chat:
        first = await begin(server, chat)
        second = await chat.send("and this")
        await server.until(lambda: len(server.model.events) == 2)
        await server.let(lambda: lose(server), server.model.start, server.model.finish)
        await chat.ended(second, 5)
        assert (await chat.ended(first, 5)).text == "one "
        agrees(chat.conversation, server.model)
    assert server.queries[1]["cursor"] == "0"


def lose(server: ScriptedServer) -> None:
    """End the running turn without telling anyone."""
    readers, server.model.readers = server.model.readers, []
    server.model.finish()
    server.model.readers = readers


async def test_a_gap_is_filled_from_the_history(server: ScriptedServer) -> None:
    async with client(server) as chat:
        request_id = await begin(server, chat)
        await server.let(server.model.finish)
        await chat.ended(request_id, 5)
    server.model.floor = 1
    async with client(server, user_id="u") as fresh:
        await fresh.until(lambda: fresh.conversation.turn(request_id) is not None, 5)
        turn = fresh.conversation.turn(request_id)
        assert turn is not None
        assert turn.text == "one "
        assert fresh.conversation.missing is None
    assert server.histories == [{"before": "2", "limit": "200", "userId": "u"}]


async def test_presented_frames_are_acknowledged_now_and_then_and_at_the_end(server: ScriptedServer) -> None:
    async with client(server, ack_every_s=0.02) as chat:
        request_id = await begin(server, chat)
        await server.let(server.model.finish)
        await chat.ended(request_id, 5)
        await server.until(lambda: server.model.acked == [1])
    async with client(server, ack_every_s=60) as chat:
        await chat.ended(request_id, 5)
    await server.until(lambda: server.model.acked == [1, 1])


async def test_the_old_protocol_is_spoken_without_cursor_and_acknowledgement(server: ScriptedServer) -> None:
    async with client(server, start=None) as chat:
        request_id = await begin(server, chat)
        await server.let(server.model.finish)
        await chat.ended(request_id, 5)
    await server.until(lambda: not server.model.readers)
    assert server.queries == [{"threadId": "t1"}]
    assert server.model.acked == []


async def test_an_address_that_is_none_is_said_at_once() -> None:
    async with ChatClient("ftp://127.0.0.1", "t1") as chat:
        with pytest.raises(InvalidURI):
            await chat.closed()


async def test_waiting_ends_in_time(server: ScriptedServer) -> None:
    async with client(server) as chat:
        with pytest.raises(TimeoutError):
            await chat.ended(await chat.send("hi"), 0.02)


async def test_leaving_the_context_ends_who_waits(server: ScriptedServer) -> None:
    chat = client(server)
    async with chat:
        waiting = asyncio.create_task(chat.closed())
        await chat.until(lambda: chat.connected, 5)
    with pytest.raises(ChatClosed):
        await waiting
