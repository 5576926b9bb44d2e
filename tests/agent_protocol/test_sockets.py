"""The protocol over real sockets: what only a connection can do, or go wrong with."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.client import PATIENCE_S, Client
from tests.end_to_end.server import Server
from unbroken.entrypoints.agent_protocol.wire import CHANNELS

ALL = sorted(CHANNELS)
Event = dict[str, Any]


def spoken(events: list[Event]) -> str:
    data = [event["params"]["data"] for event in events if event["method"] == "messages"]
    return "".join(one["delta"]["text"] for one in data if one["event"] == "content-block-delta")


def is_end(event: Event) -> bool:
    data, namespace = event["params"]["data"], event["params"]["namespace"]
    return event["method"] == "lifecycle" and not namespace and data["event"] in ("completed", "failed", "interrupted")


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


class Follower:
    """One socket that speaks the protocol, and keeps what it hears."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = iter(range(1, 10_000))
        self.events: list[Event] = []

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The response; events that come before it are kept."""
        id_ = next(self._ids)
        await self._connection.send(json.dumps({"id": id_, "method": method, "params": params}))
        while True:
            told = await self._heard()
            if told["type"] != "event" and told["id"] == id_:
                return told

    async def hear_out(self, method: str) -> None:
        """Send a command, and read until the socket ends."""
        await self._connection.send(json.dumps({"id": next(self._ids), "method": method}))
        await self.until(lambda _: False)

    async def until(self, holds: Callable[[Event], bool]) -> Event:
        while True:
            told = await self._heard()
            if told["type"] == "event" and holds(told):
                return told

    async def _heard(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            told: dict[str, Any] = json.loads(await self._connection.recv())
        if told["type"] == "event":
            self.events.append(told)
        return told


@asynccontextmanager
async def following(server: Server, thread: str, *, channels: list[str] = ALL) -> AsyncIterator[Follower]:
    async with connect(f"{server.url}/threads/{thread}/stream/events", proxy=None, max_size=None) as connection:
        follower = Follower(connection)
        if channels:
            assert (await follower.ask("subscription.subscribe", channels=channels))["type"] == "success"
        yield follower


async def told_over_http(server: Server, thread: str, **request: Any) -> list[Event]:
    """Up to the run's end."""
    url = f"http://{server.host}:{server.port}/threads/{thread}/stream/events"
    found: list[Event] = []
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http,
        http.stream("POST", url, json={"channels": ALL} | request) as response,
    ):
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
                if is_end(found[-1]):
                    return found
    return found


@pytest.mark.asyncio
async def test_each_protocol_shows_what_the_other_one_said(memory_server: Server, thread: str) -> None:
    async with Client(memory_server.url, thread=thread, agent="one") as chat:
        await chat.answered(await chat.say("first"))
        async with following(memory_server, thread) as agent:
            await agent.until(is_end)
            await _each_shows_the_other(chat, agent)


async def _each_shows_the_other(chat: Client, agent: Follower) -> None:
    heard = len(agent.events)
    (answer,) = await chat.answered(await chat.say("words=20 pause=0.01"))
    await agent.until(is_end)
    assert spoken(agent.events[heard:]) == answer["message"]
    heard = len(agent.events)
    run_id = (await agent.ask("run.start", assistant_id="one", input=said("and now?")))["result"]["run_id"]
    await agent.until(is_end)
    (answer,) = await chat.answered(run_id)
    assert spoken(agent.events[heard:]) == answer["message"]
    users = [frame for frame in chat.view.frames if frame["type"] == "user"]
    assert [frame["content"] for frame in users if frame["requestId"] == run_id] == ["and now?"]
    assert [one["seq"] for one in agent.events] == sorted({one["seq"] for one in agent.events})


@pytest.mark.asyncio
async def test_a_question_of_a_chat_is_answered_over_the_agent_protocol_and_its_other_form_of_id_too(
    memory_server: Server, thread: str
) -> None:
    async with (
        Client(memory_server.url, thread=thread, agent="endings") as chat,
        following(memory_server, thread) as agent,
    ):
        await chat.answered(await chat.say("ask=2"))
        await chat.until(lambda c: len(c.view.log) == 3)
        await agent.until(lambda event: event["params"]["data"].get("event") == "interrupted")
        asked = [event["params"]["data"] for event in agent.events if event["method"] == "input.requested"]
        assert [one["payload"]["question"] for one in asked] == ["number 1?", "number 2?"]
        ours = [frame["interruptId"] for frame in chat.view.log[1:]]
        assert [one["interrupt_id"] for one in asked] == [id_.rpartition(":")[0] for id_ in ours]
        answers = [
            {"namespace": [], "interrupt_id": asked[0]["interrupt_id"], "response": "one"},
            {"namespace": [], "interrupt_id": ours[1], "response": "two"},
        ]
        told = await agent.ask("input.respond", responses=answers)
        await chat.answered(told["result"]["run_id"])
        await agent.until(is_end)
        assert {"interrupt_ids": [one["interrupt_id"] for one in asked]} in [
            event["params"]["data"] for event in agent.events if event["method"] == "input.answered"
        ]
        again = await agent.ask("input.respond", **answers[0])
        assert again["error"] == "no_such_interrupt"
        notes = (await agent.ask("state.get", namespace=[], keys=["notes"]))["result"]["values"]["notes"]
        assert sorted(notes) == ["1: one", "2: two"]


@pytest.mark.asyncio
async def test_a_question_of_the_agent_protocol_is_answered_in_the_chat(memory_server: Server, thread: str) -> None:
    async with following(memory_server, thread) as agent:
        await agent.ask("run.start", assistant_id="endings", input=said("ask=1"))
        await agent.until(is_end)
        assert (await agent.ask("agent.getTree"))["result"]["tree"]["status"] == "interrupted"
        async with Client(memory_server.url, thread=thread, agent="endings") as chat:
            await chat.until(lambda c: any(frame["type"] == "question" for frame in c.view.log))
            question = next(frame for frame in chat.view.log if frame["type"] == "question")
            await chat.respond(question["interruptId"], "yes")
        answered = await agent.until(lambda event: event["method"] == "input.answered")
        assert answered["params"]["data"]["interrupt_ids"] == [question["interruptId"].rpartition(":")[0]]
        assert (await agent.until(is_end))["params"]["data"]["event"] == "completed"


@pytest.mark.asyncio
async def test_a_question_that_an_answer_left_open_is_asked_again_by_the_run_that_left_it(
    memory_server: Server, thread: str
) -> None:
    """Clients keep the questions of one run: one that is not told again cannot be answered by who comes later."""
    async with following(memory_server, thread) as agent:
        await agent.ask("run.start", assistant_id="endings", input=said("ask=2"))
        await agent.until(is_end)
        first, second = (one["params"]["data"] for one in agent.events if one["method"] == "input.requested")
        heard = len(agent.events)
        await agent.ask("input.respond", interrupt_id=first["interrupt_id"], response="one")
        await agent.until(is_end)
        again = [one for one in agent.events[heard:] if one["method"] == "input.requested"]
        assert [one["params"]["data"] for one in again] == [second]
    late = await told_over_http(memory_server, thread, channels=["input", "lifecycle", "messages"])
    asked = [one for one in late if one["method"] == "input.requested"]
    assert [(one["event_id"], one["seq"]) for one in asked] == [(one["event_id"], one["seq"]) for one in again]
    rest = await told_over_http(memory_server, thread, since=again[0]["seq"])
    assert [one["event_id"] for one in rest] == [late[-1]["event_id"]]


@pytest.mark.asyncio
async def test_who_comes_back_with_any_since_is_told_exactly_the_rest(memory_server: Server, thread: str) -> None:
    async with following(memory_server, thread) as agent:
        await agent.ask("run.start", assistant_id="three", input=said("words=3"))
        await agent.until(is_end)
    for number in range(len(agent.events) - 1):
        rest = await told_over_http(memory_server, thread, since=agent.events[number]["seq"])
        assert [one["event_id"] for one in rest] == [one["event_id"] for one in agent.events[number + 1 :]]
    assert [one["event_id"] for one in await told_over_http(memory_server, thread)] == [
        one["event_id"] for one in agent.events
    ]


@pytest.mark.asyncio
async def test_several_subscriptions_are_told_each_event_once_and_a_late_one_from_the_beginning(
    memory_server: Server, thread: str
) -> None:
    async with following(memory_server, thread, channels=["lifecycle"]) as agent:
        await agent.ask("run.start", assistant_id="one", input=said("words=5"))
        await agent.until(is_end)
        assert {event["method"] for event in agent.events} == {"lifecycle"}
        late = await agent.ask("subscription.subscribe", channels=["messages", "lifecycle"])
        await agent.until(is_end)
        texts = [event for event in agent.events if event["method"] == "messages"]
        assert spoken(texts).startswith("[")
        assert len({event["event_id"] for event in texts}) == len(texts)
        subscription_id = late["result"]["subscription_id"]
        assert (await agent.ask("subscription.unsubscribe", subscription_id=subscription_id))["type"] == "success"
        gone = await agent.ask("subscription.unsubscribe", subscription_id=subscription_id)
        assert gone["error"] == "no_such_subscription"
        back = await agent.ask("subscription.reconnect", channels=["values"], since=texts[0]["seq"])
        assert (back["result"]["restored"], back["result"]["missed_events"]) == (True, 0)
        assert (await agent.until(lambda event: event["method"] == "values"))["seq"] > texts[0]["seq"]


@pytest.mark.asyncio
async def test_a_run_is_cancelled_and_its_thread_goes_on(memory_server: Server, thread: str) -> None:
    async with following(memory_server, thread) as agent:
        run = await agent.ask("run.start", assistant_id="one", input=said("words=500 pause=0.05"))
        await agent.until(lambda event: event["method"] == "messages")
        assert (await agent.ask("run.cancel", run_id=str(uuid.uuid4())))["error"] == "no_such_run"
        assert (await agent.ask("run.cancel", run_id=run["result"]["run_id"]))["type"] == "success"
        assert (await agent.until(is_end))["params"]["data"]["event"] == "interrupted"
        await agent.ask("run.start", assistant_id="one", input=said("still there?"))
        assert (await agent.until(is_end))["params"]["data"]["event"] == "completed"


@pytest.mark.asyncio
async def test_a_fork_goes_on_from_its_checkpoint(memory_server: Server, thread: str) -> None:
    async with following(memory_server, thread) as agent:
        await agent.ask("run.start", assistant_id="one", input=said("first"))
        await agent.until(is_end)
        (newest,) = (await agent.ask("state.listCheckpoints", limit=1))["result"]["checkpoints"]
        await agent.ask("run.start", assistant_id="one", input=said("second"))
        await agent.until(is_end)
        forked = await agent.ask("state.fork", checkpoint_id=newest["id"], input=said("third"))
        assert forked["result"]["thread_id"] == thread
        assert (await agent.until(is_end))["params"]["data"]["event"] == "completed"
        state = (await agent.ask("state.get", namespace=[]))["result"]
        texts = [message["content"] for message in state["values"]["messages"] if message["type"] == "human"]
        assert texts == ["first", "third"]
        assert state["checkpoint"]["id"] > newest["id"]
        absent = str(uuid.uuid4())
        refused = await agent.ask("state.fork", checkpoint_id=absent, input=said("fourth"))
        assert (refused["error"], absent in refused["message"]) == ("no_such_checkpoint", True)


@pytest.mark.asyncio
async def test_a_second_graph_on_a_thread_is_refused_with_the_reason(memory_server: Server, thread: str) -> None:
    async with following(memory_server, thread) as agent:
        await agent.ask("run.start", assistant_id="one", input=said("first"))
        await agent.until(is_end)
        url = f"http://{memory_server.host}:{memory_server.port}/threads/{thread}/commands"
        params = {"assistant_id": "three", "input": said("second")}
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.post(url, json={"id": 1, "method": "run.start", "params": params})
        assert (reply.json()["type"], reply.json()["error"]) == ("error", "invalid_argument")
        assert "'one'" in reply.json()["message"]
        assert (await agent.ask("run.start", assistant_id="nobody"))["error"] == "invalid_argument"
        refused = await agent.ask("run.start", assistant_id="one", config={"metadata": 3})
        assert (refused["error"], refused["message"]) == ("invalid_argument", "config.metadata must be an object")


@pytest.mark.asyncio
async def test_bad_commands_are_answered_and_too_many_close_the_socket(memory_server: Server, thread: str) -> None:
    async with following(memory_server, thread) as agent:
        for number in range(19):
            told = await agent.ask("no.such.command")
            assert (told["type"], told["error"]) == ("error", "unknown_command"), number
        with pytest.raises(ConnectionClosed) as closed:
            await agent.hear_out("no.such.command")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4429


@pytest.mark.asyncio
async def test_a_body_over_the_limit_is_refused(memory_server: Server, thread: str) -> None:
    for route in ("commands", "stream/events"):
        reader, writer = await asyncio.open_connection(memory_server.host, memory_server.port)
        head = f"POST /threads/{thread}/{route} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        writer.write(f"{head}content-length: 9999999\r\n\r\n".encode())
        assert b" 413 " in await asyncio.wait_for(reader.readline(), PATIENCE_S)
        writer.close()
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://{memory_server.host}:{memory_server.port}") as http:
        for body in (b"", b"{", b"[]", b'{"channels": ["debug"]}'):
            reply = await http.post(f"/threads/{thread}/stream/events", content=body)
            assert reply.status_code == 400, body
            assert reply.json()["detail"]


LONG = "words=2000 pause=0 wide=2000"
"""More than every buffer on the way holds."""


def cut_off_after(server: Server, thread: str, idle_s: float) -> bytes | None:
    """Ask for everything, read nothing for a while, then what there is. None: the stream goes on."""
    with socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tcp.connect((server.host, server.port))
        body = json.dumps({"channels": ALL}).encode()
        head = (
            f"POST /threads/{thread}/stream/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        tcp.sendall(head.encode() + body)
        time.sleep(idle_s)
        tcp.settimeout(5)
        found = b""
        try:
            while chunk := tcp.recv(1 << 16):
                found += chunk
        except TimeoutError:
            return None
        except ConnectionResetError:
            pass
        return found


@pytest.mark.asyncio
async def test_a_stream_that_nobody_reads_is_cut_off_and_the_others_go_on(memory_server: Server, thread: str) -> None:
    async with following(memory_server, thread, channels=["lifecycle"]) as agent:
        await agent.ask("run.start", assistant_id="one", input=said(LONG))
        await agent.until(is_end)
        found = None
        for idle_s in (2.0, 4.0, 8.0, 16.0):  # a busy machine may notice late; what it does then is certain
            found = await asyncio.to_thread(cut_off_after, memory_server, thread, idle_s)
            if found is not None:
                break
        assert found is not None
        assert len(found) < 5 << 20
        assert not found.endswith(b"0\r\n\r\n"), "a proper end would say that the run is over"
        assert (await agent.ask("agent.getTree"))["type"] == "success"


@pytest.mark.asyncio
async def test_a_server_that_stops_sends_everyone_away_to_come_again(tmp_path: Path) -> None:
    with Server(tmp_path, arguments=["--in-memory"]) as server:
        async with following(server, "t") as agent:
            await agent.ask("run.start", assistant_id="one", input=said("first"))
            await agent.until(is_end)
            url = f"http://{server.host}:{server.port}/threads/t/stream/events"
            async with (
                httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http,
                http.stream("POST", url, json={"channels": ALL, "since": agent.events[-1]["seq"]}) as response,
            ):
                assert response.status_code == 200
                stopping = asyncio.create_task(asyncio.to_thread(server.stop))
                with pytest.raises(ConnectionClosed) as closed:
                    await agent.until(lambda event: False)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1012
                with pytest.raises(httpx.RemoteProtocolError):
                    await response.aread()
            assert await stopping == 0
        assert "[error" not in server.said()
