"""User B gets no frame, row or byte of A's thread, whatever B tries: every route there is, and every frame.

The routes are asked of the application itself: a new one that is not tried here makes the first test fail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import pytest
from litestar.routes import ASGIRoute, HTTPRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.web.rest import Rest
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.web.app import create_app
from unbroken.entrypoints.web.guard import guard_of

SECRET = "the rain in Spain 4711"

TRIED: dict[tuple[str, str], str] = {
    ("GET", "/api/me"): "/api/me",
    ("GET", "/api/threads"): "/api/threads?query=Spain",
    ("POST", "/api/threads"): "/api/threads",
    ("GET", "/api/threads/{thread_id:str}"): "/api/threads/{thread}",
    ("PATCH", "/api/threads/{thread_id:str}"): "/api/threads/{thread}",
    ("DELETE", "/api/threads/{thread_id:str}"): "/api/threads/{thread}",
    ("GET", "/api/threads/{thread_id:str}/messages"): "/api/threads/{thread}/messages?limit=200",
    ("POST", "/api/threads/{thread_id:str}/files"): "/api/threads/{thread}/files?name=mine.txt",
    ("GET", "/api/threads/{thread_id:str}/files/{file_id:str}"): "/api/threads/{thread}/files/{file}",
    ("GET", "/api/sessions/{key:str}/timeline"): "/api/sessions/{session}/timeline?limit=50",
    (
        "GET",
        "/api/sessions/{key:str}/checkpoints/{checkpoint_id:str}",
    ): "/api/sessions/{session}/checkpoints/{state}",
    ("POST", "/api/sessions/{key:str}/effects/{effect_id:str}/retry"): "/api/sessions/{session}/effects/{effect}/retry",
    ("POST", "/threads/{thread_id:str}/runs"): "/threads/{thread}/runs",
    ("POST", "/threads/{thread_id:str}/runs/stream"): "/threads/{thread}/runs/stream",
    ("POST", "/threads/{thread_id:str}/runs/wait"): "/threads/{thread}/runs/wait",
    ("GET", "/threads/{thread_id:str}/runs"): "/threads/{thread}/runs",
    ("GET", "/threads/{thread_id:str}/runs/{run_id:str}"): "/threads/{thread}/runs/{run}",
    ("DELETE", "/threads/{thread_id:str}/runs/{run_id:str}"): "/threads/{thread}/runs/{run}",
    ("GET", "/threads/{thread_id:str}/runs/{run_id:str}/join"): "/threads/{thread}/runs/{run}/join",
    ("GET", "/threads/{thread_id:str}/runs/{run_id:str}/stream"): "/threads/{thread}/runs/{run}/stream",
    ("POST", "/threads/{thread_id:str}/runs/{run_id:str}/cancel"): "/threads/{thread}/runs/{run}/cancel",
    ("GET", "/threads/{thread_id:str}/stream"): "/threads/{thread}/stream",
    ("POST", "/agui/{agent:str}"): "/agui/one",
    ("POST", "/runs"): "/runs",
    ("POST", "/runs/stream"): "/runs/stream",
    ("POST", "/runs/wait"): "/runs/wait",
    ("POST", "/runs/batch"): "/runs/batch",
    ("POST", "/runs/cancel"): "/runs/cancel",
    ("POST", "/threads/{thread_id:str}/commands"): "/threads/{thread}/commands",
    ("POST", "/threads/{thread_id:str}/stream/events"): "/threads/{thread}/stream/events",
    ("POST", "/threads"): "/threads",
    ("POST", "/threads/search"): "/threads/search",
    ("POST", "/threads/count"): "/threads/count",
    ("POST", "/threads/prune"): "/threads/prune",
    ("GET", "/threads/{thread_id:str}"): "/threads/{thread}",
    ("PATCH", "/threads/{thread_id:str}"): "/threads/{thread}",
    ("DELETE", "/threads/{thread_id:str}"): "/threads/{thread}",
    ("POST", "/threads/{thread_id:str}/copy"): "/threads/{thread}/copy",
    ("GET", "/threads/{thread_id:str}/state"): "/threads/{thread}/state?subgraphs=true",
    ("POST", "/threads/{thread_id:str}/state"): "/threads/{thread}/state",
    ("GET", "/threads/{thread_id:str}/state/{checkpoint_id:str}"): "/threads/{thread}/state/{state}",
    ("POST", "/threads/{thread_id:str}/state/checkpoint"): "/threads/{thread}/state/checkpoint",
    ("GET", "/threads/{thread_id:str}/history"): "/threads/{thread}/history",
    ("POST", "/threads/{thread_id:str}/history"): "/threads/{thread}/history",
    ("POST", "/assistants/search"): "/assistants/search",
    ("POST", "/assistants/count"): "/assistants/count",
    ("GET", "/assistants/{assistant_id:str}"): "/assistants/{assistant}",
    ("PATCH", "/assistants/{assistant_id:str}"): "/assistants/{assistant}",
    ("DELETE", "/assistants/{assistant_id:str}"): "/assistants/{assistant}",
    ("POST", "/assistants/{assistant_id:str}/versions"): "/assistants/{assistant}/versions",
    ("POST", "/assistants/{assistant_id:str}/latest"): "/assistants/{assistant}/latest",
    ("GET", "/assistants/{assistant_id:str}/schemas"): "/assistants/{assistant}/schemas",
    ("GET", "/assistants/{assistant_id:str}/graph"): "/assistants/{assistant}/graph",
    ("GET", "/assistants/{assistant_id:str}/subgraphs"): "/assistants/{assistant}/subgraphs",
    ("GET", "/assistants/{assistant_id:str}/subgraphs/{namespace:str}"): "/assistants/{assistant}/subgraphs/x",
    # Last, for B has one of that id afterwards.
    ("POST", "/assistants"): "/assistants",
}
"""Route → the address at which B asks for A's."""

OF_NOBODY = {
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/ok"),
    ("GET", "/info"),
    # The agents' long-term memory is everybody's, unless a project's rules say whose (tests/langgraph_api).
    ("PUT", "/store/items"),
    ("GET", "/store/items"),
    ("DELETE", "/store/items"),
    ("POST", "/store/items/search"),
    ("POST", "/store/namespaces"),
    ("FILES", "/"),
    ("FILES", "/vendor"),
    ("WEBSOCKET", "/api/chat/ws"),
    ("WEBSOCKET", "/threads/{thread_id:str}/stream/events"),
}
"""Routes that hold nothing of a user's; the sockets are tried below."""

ALL = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]
RUN: dict[str, Any] = {"assistant_id": "endings", "input": {"messages": [{"role": "user", "content": "let me in"}]}}
ECHOES = {("POST", "/agui/{agent:str}")}
"""What tells its caller the name of the thread that was asked for."""
BODIES: dict[str, Any] = {
    "POST /threads/{thread_id:str}/runs": RUN,
    "POST /threads/{thread_id:str}/runs/stream": RUN,
    "POST /threads/{thread_id:str}/runs/wait": RUN | {"multitask_strategy": "rollback"},
    "POST /agui/{agent:str}": {"threadId": "{thread}", "runId": "b1", "messages": []},
    "POST /runs/cancel": {"thread_id": "{thread}", "run_ids": ["{run}"]},
    "POST /threads/{thread_id:str}/commands": {"id": 1, "method": "state.get", "params": {"namespace": []}},
    "POST /threads/{thread_id:str}/stream/events": {"channels": ALL},
    "POST /api/threads": {"threadId": "{thread}"},
    "PATCH /api/threads/{thread_id:str}": {"title": "B's"},
    "POST /threads": {"thread_id": "{thread}", "if_exists": "do_nothing"},
    "POST /threads/search": {"ids": ["{thread}"]},
    "POST /threads/count": {},
    "POST /threads/prune": {"thread_ids": ["{thread}"]},
    "PATCH /threads/{thread_id:str}": {"metadata": {"b": "was here"}},
    "POST /threads/{thread_id:str}/state": {"values": {"messages": ["B's"]}},
    "POST /threads/{thread_id:str}/state/checkpoint": {"checkpoint": {"checkpoint_id": "{state}"}},
    "POST /threads/{thread_id:str}/history": {},
    "POST /assistants": {"graph_id": "endings", "assistant_id": "{assistant}"},
    "POST /assistants/search": {"metadata": {"secret": "rain"}},
    "POST /assistants/count": {"metadata": {"secret": "rain"}},
    "PATCH /assistants/{assistant_id:str}": {"name": "B's"},
    "POST /assistants/{assistant_id:str}/versions": {},
    "POST /assistants/{assistant_id:str}/latest": {"version": 1},
}
CREATES = {("POST", "/api/threads"): (409, 201), ("POST", "/threads"): (409, 200), ("POST", "/assistants"): (200, 200)}
"""What B is told at A's id and at one that nobody has. A thread is one user's alone; an assistant's id means to each
user what that user made of it."""


def never() -> AbstractAsyncContextManager[Service]:
    raise AssertionError("nothing is served here")


def routes() -> Iterator[tuple[str, str]]:
    for route in create_app(never, guard_of(Settings())).routes:
        if isinstance(route, HTTPRoute):
            static = route.path == "/" or route.path.endswith("/{file_path:path}")
            for method in route.methods - {"OPTIONS", "HEAD"}:
                yield ("FILES", route.path.removesuffix("/{file_path:path}") or "/") if static else (method, route.path)
        elif isinstance(route, ASGIRoute):
            yield "FILES", route.path
        else:
            yield "WEBSOCKET", route.path


def test_every_route_is_tried() -> None:
    assert set(routes()) == set(TRIED) | OF_NOBODY


class Belongings:
    """A thread of A's with something in every corner."""

    def __init__(self, server: Server, thread: str) -> None:
        self.thread = thread
        self.a, self.b = Rest(server, f"a-{thread}"[:120]), Rest(server, f"b-{thread}"[:120])
        self.file = self.state = self.effect = self.run = self.assistant = ""
        self.log: list[dict[str, Any]] = []

    async def begin(self) -> None:
        assert self.a.ask("POST", "/api/threads", {"threadId": self.thread, "agentId": "endings"}).status == 201
        added = self.a.ask("POST", f"/api/threads/{self.thread}/files?name=s.txt", SECRET.encode())
        self.file = added.json["fileId"]
        async with Client(self.a.server.url, thread=self.thread, user=self.a.user, agent="endings") as client:
            await client.answered(await client.say(f"{SECRET} ask=1"))
            await client.until(lambda c: len(c.view.log) == 2)
            self.log = client.view.log
        (run,) = self.a.ask("GET", f"/threads/{self.thread}/runs").json
        self.run = run["run_id"]
        assert self.a.ask("GET", f"/threads/{self.thread}/runs/{self.run}/join").status == 200
        preset = {"graph_id": "endings", "name": SECRET, "metadata": {"secret": "rain"}}
        self.assistant = self.a.ask("POST", "/assistants", preset).json["assistant_id"]
        self.a.ask("PATCH", f"/threads/{self.thread}", {"metadata": {"secret": SECRET}})
        entries = self.timeline()["turns"][0]["entries"]
        self.state = next(entry["checkpointId"] for entry in entries if entry["kind"] == "checkpoint")
        self.effect = next(entry["effectId"] for entry in entries if entry["kind"] == "effect")

    def timeline(self) -> dict[str, Any]:
        session = f"{self.a.user}:endings:{self.thread}"
        told: dict[str, Any] = self.a.ask("GET", f"/api/sessions/{session}/timeline").json
        return told

    @property
    def secrets(self) -> list[str]:
        said = [str(self.log[0]["message"]), str(self.log[1]["interruptId"])]
        return [SECRET, self.a.user, self.file, self.state, self.effect, self.run, *said]

    def filled(self, address: str, thread_id: str, file_id: str) -> str:
        session = f"{self.a.user}:endings:{thread_id}"
        names = {"thread": thread_id, "file": file_id, "run": self.run, "state": self.state, "effect": self.effect}
        assistant = self.assistant if file_id == self.file else "none"
        return address.format(session=session, assistant=assistant, **names)

    def untouched(self) -> bool:
        history = self.a.ask("GET", f"/api/threads/{self.thread}/messages").json
        thread = self.a.ask("GET", f"/api/threads/{self.thread}").json
        file = self.a.ask("GET", f"/api/threads/{self.thread}/files/{self.file}")
        return (
            [frame for frame in history["messages"] if "cursor" in frame] == self.log
            and thread["title"].startswith(SECRET)
            and thread["status"] == "waiting"
            and file.body == SECRET.encode()
            and self.a.ask("GET", f"/threads/{self.thread}").json["metadata"]["secret"] == SECRET
            and self.a.ask("GET", f"/assistants/{self.assistant}").json["name"] == SECRET
        )


@pytest.mark.asyncio
async def test_no_route_gives_b_anything_of_as_or_tells_that_it_exists(memory_server: Server, thread: str) -> None:
    mine = Belongings(memory_server, thread)
    await mine.begin()
    absent = f"{thread}.absent"[-120:]
    for number, ((method, route), address) in enumerate(TRIED.items()):
        replies = []
        names = mine.thread.encode(), f"{absent}.{number}".encode()
        for thread_id, file_id in ((mine.thread, mine.file), (f"{absent}.{number}", "none")):
            path = mine.filled(address, thread_id, file_id)
            body = BODIES.get(f"{method} {route}")
            if body is not None:
                text = (
                    json.dumps(body)
                    .replace("{thread}", thread_id)
                    .replace("{state}", mine.state)
                    .replace("{run}", mine.run)
                )
                body = json.loads(text.replace("{assistant}", mine.assistant if file_id == mine.file else "none"))
            reply = mine.b.ask(method, path, body if body is not None else b"x" if method == "POST" else None)
            replies.append(reply)
            told = reply.body.decode() + str(reply.headers)
            assert not [secret for secret in mine.secrets if secret in told], (method, route)
        foreign, nothing = replies
        if (method, route) in CREATES:
            assert (foreign.status, nothing.status) == CREATES[method, route]
        else:
            assert foreign.status == nothing.status or nothing.status == 404, (method, route)
            asked = [name if (method, route) in ECHOES else b"" for name in names]
            assert foreign.body.replace(asked[0], b"") == nothing.body.replace(asked[1], b""), (method, route)
            assert foreign.status == 404 or mine.thread not in mine.filled(address, mine.thread, mine.file)
    assert mine.untouched()


@pytest.mark.asyncio
async def test_a_key_that_names_b_does_not_open_as_thread(memory_server: Server, thread: str) -> None:
    mine = Belongings(memory_server, thread)
    await mine.begin()
    for (method, _), address in TRIED.items():
        if "{session}" in address:
            path = mine.filled(address, mine.thread, mine.file).replace(mine.a.user, mine.b.user)
            reply = mine.b.ask(method, path, b"x" if method == "POST" else None)
            assert reply.error == (404, "not_found"), path
            assert not [secret for secret in mine.secrets if secret in reply.body.decode()]


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
