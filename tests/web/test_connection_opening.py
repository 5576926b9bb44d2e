"""Who gets a socket, and what those hear who do not: queries, identities, Host, Origin, cursors from elsewhere."""

from __future__ import annotations

import asyncio
import http.client
import json

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.client import PATIENCE_S, Client
from tests.end_to_end.server import Server


def opened(server: Server, query: str, **headers: str) -> connect:
    return connect(
        f"{server.url}/api/chat/ws?{query}",
        proxy=None,
        additional_headers={name.title(): value for name, value in headers.items()},
    )


async def close_of(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(socket.recv(), PATIENCE_S)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "threadId"),
        ("threadId=", "threadId"),
        ("threadId=a%20b", "threadId"),
        (f"threadId={'a' * 129}", "threadId"),
        ("threadId=a&threadId=b", "threadId"),
        ("threadId=a&cursor=first", "cursor"),
        ("threadId=a&cursor=-1", "cursor"),
        (f"threadId=a&cursor={2**53}", "cursor"),
        ("threadId=a&requestId=r", "attempt"),
        ("threadId=a&requestId=r&attempt=1", "offset"),
        ("threadId=a&requestId=&attempt=1&offset=0", "requestId"),
        ("threadId=a&requestId=r&attempt=x&offset=0", "attempt"),
        ("threadId=%ff", "query"),
    ],
)
async def test_a_query_that_cannot_be_understood_closes_with_4400_and_names_the_parameter(
    memory_server: Server, query: str, field: str
) -> None:
    async with opened(memory_server, query.replace(" ", "%20")) as socket:
        code, reason = await close_of(socket)
    assert code == 4400
    assert reason.startswith(field)


@pytest.mark.asyncio
async def test_an_unknown_agent_closes_with_4404_and_leaves_no_thread_behind(
    memory_server: Server, thread: str
) -> None:
    async with opened(memory_server, f"threadId={thread}&agentId=nobody") as socket:
        code, reason = await close_of(socket)
    assert code == 4404
    assert "nobody" in reason
    async with Client(memory_server.url, thread=thread, user="anyone", agent="three") as client:
        await client.answered(await client.say("hello"))


@pytest.mark.asyncio
@pytest.mark.parametrize(("user", "agent"), [("mallory", "one"), ("alice", "three")])
async def test_a_thread_of_another_user_or_agent_closes_with_4403_and_shows_nothing(
    memory_server: Server, thread: str, user: str, agent: str
) -> None:
    async with Client(memory_server.url, thread=thread, user="alice", agent="one") as alice:
        await alice.answered(await alice.say("a secret"))
        async with Client(memory_server.url, thread=thread, user=user, agent=agent) as other:
            assert (await other.ended())[0] == 4403
        assert other.view.frames == []
        await alice.answered(await alice.say("still here"))
    assert alice.view.faults == []


@pytest.mark.asyncio
async def test_whoever_waits_at_an_unborn_thread_that_another_then_begins_sees_and_says_nothing(
    memory_server: Server, thread: str
) -> None:
    async with Client(memory_server.url, thread=thread, user="mallory") as mallory:
        async with Client(memory_server.url, thread=thread, user="alice") as alice:
            await alice.answered(await alice.say("a secret"))
            assert mallory.view.frames == []
            await mallory.say("let me in")
            assert (await mallory.ended())[0] == 4403
            await alice.answered(await alice.say("alone?"))
        assert mallory.view.frames == []
    assert len(alice.view.log) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "169.254.1.1", ""])
async def test_a_host_that_is_no_loopback_name_is_not_believed(memory_server: Server, thread: str, host: str) -> None:
    query = f"threadId={thread}"
    async with connect(f"ws://{host or 'x'}:{memory_server.port}/api/chat/ws?{query}", proxy=None,
                       host="127.0.0.1", port=memory_server.port) as socket:  # fmt: skip
        code, reason = await close_of(socket)
    assert code == 4401
    assert reason.startswith("Host")


@pytest.mark.asyncio
@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://127.0.0.1:1", "file://", "http://["])
async def test_another_sites_page_gets_no_socket(memory_server: Server, thread: str, origin: str) -> None:
    async with opened(memory_server, f"threadId={thread}", origin=origin) as socket:
        code, reason = await close_of(socket)
    assert code == 4401
    assert reason.startswith("Origin")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_our_own_page_gets_a_socket(memory_server: Server, thread: str, name: str) -> None:
    authority = f"{name}:{memory_server.port}"
    async with connect(
        f"ws://{authority}/api/chat/ws?threadId={thread}&cursor=0",
        proxy=None,
        host="127.0.0.1",
        port=memory_server.port,
        origin=f"http://{authority}",  # type: ignore[arg-type]
    ) as socket:
        await socket.send(json.dumps({"type": "message", "requestId": "r", "content": "hello"}))
        assert json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))["type"] == "accepted"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "example.com"}, 401),
        ({"Origin": "https://example.com"}, 401),
        ({"Host": "localhost"}, 200),
    ],
)
@pytest.mark.asyncio
async def test_the_history_obeys_the_same_rules_of_host_and_origin(
    memory_server: Server, thread: str, headers: dict[str, str], status: int
) -> None:
    async with Client(memory_server.url, thread=thread) as client:
        await client.answered(await client.say("hello"))
    connection = http.client.HTTPConnection("127.0.0.1", memory_server.port, timeout=30)
    try:
        connection.request("GET", f"/api/threads/{thread}/messages", headers=headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    assert response.status == status
    assert (b"hello" in body) == (status == 200)


@pytest.mark.asyncio
async def test_a_cursor_from_the_future_is_announced_as_a_gap_and_the_session_goes_on(
    memory_server: Server, thread: str
) -> None:
    async with Client(memory_server.url, thread=thread) as client:
        await client.answered(await client.say("hello"))
    async with Client(memory_server.url, thread=thread, cursor=77) as lost:
        await lost.until(lambda c: bool(c.view.gaps))
        assert lost.view.gaps == [{"type": "gap", "cursor": 1, "reason": "unknown_cursor"}]
        (answer,) = await lost.answered(await lost.say("and now?"))
    assert answer["cursor"] == 2
    assert lost.view.faults == []
