"""User B gets no frame of A's thread over a socket, whatever B sends."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.web.belongings import ALL, SECRET, Belongings

FRAMES: list[dict[str, Any]] = [
    {"type": "message", "requestId": "b1", "content": "let me in"},
    {"type": "message", "requestId": "b2", "content": "edited", "replaces": "{request}"},
    {"type": "message", "requestId": "b3", "content": "now", "whenBusy": "rollback"},
    {"type": "message", "requestId": "b4", "content": [{"type": "file", "file_id": "{file}"}]},
    {"type": "respond", "requestId": "b5", "interruptId": "{interrupt}", "value": True},
    {"type": "cancel", "requestId": "{request}"},
    {"type": "ack", "cursor": 2},
]


def about(mine: Belongings, frame: dict[str, Any]) -> dict[str, Any]:
    """The frame with what belongs to A filled in."""
    text = json.dumps(frame)
    for name, value in (
        ("request", mine.log[0]["requestId"]),
        ("interrupt", mine.log[1]["interruptId"]),
        ("file", mine.file),
    ):
        text = text.replace(f"{{{name}}}", str(value))
    filled: dict[str, Any] = json.loads(text)
    return filled


@pytest.mark.asyncio
@pytest.mark.parametrize("query", ["cursor=0", "cursor=2", "cursor=tail", "", "requestId=r&attempt=1&offset=0"])
async def test_no_socket_shows_b_anything_of_as(memory_server: Server, thread: str, query: str) -> None:
    mine = Belongings(memory_server, thread)
    await mine.begin()
    where = f"{mine.thread}&{query}" if query else mine.thread
    for agent in ("endings", "one"):
        address = f"{memory_server.url}/api/chat/ws?threadId={where}&agentId={agent}&userId={mine.b.user}"
        heard: list[str | bytes] = []
        async with connect(address, proxy=None) as socket:
            with suppress(ConnectionClosed):
                for frame in FRAMES:
                    await socket.send(json.dumps(about(mine, frame)))
                while True:
                    heard.append(await asyncio.wait_for(socket.recv(), 30))
        assert socket.close_code == 4403
        heard.append(socket.close_reason or "")
        assert not [secret for secret in mine.secrets if secret in str(heard)]
    assert mine.untouched()


@pytest.mark.asyncio
async def test_a_socket_does_not_tell_b_that_as_thread_was_deleted(memory_server: Server, thread: str) -> None:
    mine = Belongings(memory_server, thread)
    await mine.begin()
    told = []
    for deleted in (False, True):
        if deleted:
            assert mine.a.ask("DELETE", f"/api/threads/{mine.thread}").status == 204
        async with Client(memory_server.url, thread=mine.thread, user=mine.b.user, agent="endings") as b:
            told.append(await b.ended())
    assert told[0] == told[1]
    assert told[0][0] == 4403
    async with Client(memory_server.url, thread=mine.thread, user=mine.a.user, agent="endings") as a:
        assert "was deleted" in (await a.ended())[1]


@pytest.mark.asyncio
async def test_no_frame_over_bs_own_socket_reaches_into_as_thread(memory_server: Server, thread: str) -> None:
    mine = Belongings(memory_server, thread)
    await mine.begin()
    own = f"{thread}.b"[-120:]
    async with Client(memory_server.url, thread=own, user=mine.b.user, agent="endings") as client:
        await client.answered(await client.say("my own"))
        for frame in (one for one in FRAMES[1:] if "whenBusy" not in one):
            told = about(mine, frame) | ({"requestId": f"x{frame['requestId']}"} if "content" in frame else {})
            await client.send(told)
        await client.send({"type": "message", "requestId": "w", "threadId": mine.thread, "content": "there"})
        await client.answered(await client.say("still here?"))
        codes = {frame["code"] for frame in client.view.refusals}
        assert {"unknown_file", "unknown_request", "wrong_thread"} <= codes
        ends = {request: frame.get("code") for request, frame in client.view.ends.items()}
        assert (ends["xb2"], ends["b5"]) == ("branch_gone", "question_closed")
        heard = json.dumps(client.view.frames)
        assert not [secret for secret in (SECRET, mine.a.user, str(mine.log[0]["message"])) if secret in heard]
    assert mine.untouched()


COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("subscription.subscribe", {"channels": ALL}),
    ("subscription.subscribe", {"channels": ALL, "since": 0}),
    ("subscription.reconnect", {"channels": ALL, "since": 1}),
    ("state.get", {"namespace": []}),
    ("agent.getTree", {}),
    ("run.cancel", {}),
    ("state.fork", {"checkpoint_id": "{state}"}),
    ("input.respond", {"namespace": [], "interrupt_id": "{interrupt}", "response": True}),
    ("run.start", {"assistant_id": "endings", "input": {"messages": [{"role": "user", "content": "let me in"}]}}),
    ("run.start", {"assistant_id": "one", "input": {}, "multitask_strategy": "rollback"}),
]


def commanded(mine: Belongings) -> list[dict[str, Any]]:
    text = json.dumps(COMMANDS).replace("{state}", mine.state).replace("{interrupt}", str(mine.log[1]["interruptId"]))
    return [{"id": id_, "method": method, "params": params} for id_, (method, params) in enumerate(json.loads(text))]


@pytest.mark.asyncio
async def test_no_command_of_the_agent_protocol_gives_b_anything_of_as(memory_server: Server, thread: str) -> None:
    mine = Belongings(memory_server, thread)
    await mine.begin()
    address = f"{memory_server.url}/threads/{mine.thread}/stream/events?userId={mine.b.user}"
    for command in commanded(mine):
        reply = mine.b.ask("POST", f"/threads/{mine.thread}/commands", command)
        if not command["method"].startswith("subscription"):
            assert reply.status == 404, command
        heard: list[str | bytes] = [reply.body]
        async with connect(address, proxy=None) as socket:
            await socket.send(json.dumps({"id": 99, "method": "subscription.subscribe", "params": {"channels": ALL}}))
            heard.append(await asyncio.wait_for(socket.recv(), 30))
            await socket.send(json.dumps(command))
            with suppress(ConnectionClosed):
                heard.append(await asyncio.wait_for(socket.recv(), 30))
                assert command["method"].startswith("subscription"), command
        if not command["method"].startswith("subscription"):
            assert (socket.close_code, socket.close_reason) == (
                4403,
                f"thread {mine.thread!r} belongs to another user or agent",
            )
        assert not [secret for secret in mine.secrets if secret in str(heard)], command
    assert mine.untouched()


@pytest.mark.asyncio
async def test_the_agent_protocol_s_socket_tells_of_bs_thread_and_of_no_other(
    memory_server: Server, thread: str
) -> None:
    """Whose subscription begins before the thread has an owner, and who then turns out not to be it, hears nothing."""
    a, b = f"a-{thread}"[:120], f"b-{thread}"[:120]
    sockets = {}
    for user in (a, b):
        sockets[user] = await connect(f"{memory_server.url}/threads/{thread}/stream/events?userId={user}", proxy=None)
        await sockets[user].send(json.dumps({"id": 1, "method": "subscription.subscribe", "params": {"channels": ALL}}))
        assert json.loads(await sockets[user].recv())["type"] == "success"
    async with Client(memory_server.url, thread=thread, user=a, agent="one") as client:
        await client.answered(await client.say(SECRET))
    async with asyncio.timeout(30):
        while json.loads(await sockets[a].recv()).get("params", {}).get("data", {}).get("event") != "completed":
            pass
    await sockets[b].send(json.dumps({"id": 2, "method": "agent.getTree"}))
    heard = []
    with suppress(ConnectionClosed):
        while True:
            heard.append(await asyncio.wait_for(sockets[b].recv(), 30))
    assert SECRET not in str(heard)
    assert sockets[b].close_code == 4403
    await sockets[a].close()
