"""A project's rules are asked the same at every way in: REST, the Agent Protocol, AG-UI, and the chat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from httpx import AsyncClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.projects import laid_out
from tests.end_to_end.server import Server

INPUT = {"messages": [{"role": "user", "content": "hello"}]}
HEARD = (
    "UUID enqueue create after_seconds assistant_id if_not_exists kwargs metadata multitask_strategy "
    "prevent_insert_if_inflight run_id status thread_id command config context input"
)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("locked")
    laid_out(folder, "locked")
    with Server(folder, agents={}, arguments=["--in-memory"]) as server:
        yield server


@pytest_asyncio.fixture
async def http(locked: Server) -> AsyncIterator[AsyncClient]:
    """Of ann, unless a request says otherwise."""
    base, ann = f"http://127.0.0.1:{locked.port}", {"Authorization": "Bearer ann"}
    async with AsyncClient(base_url=base, headers=ann, trust_env=False, timeout=30) as client:
        yield client


def somebody(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


async def by_rest(http: AsyncClient, agent: str) -> str:
    body = {"assistant_id": agent, "input": INPUT, "if_not_exists": "create", "multitask_strategy": "enqueue"}
    return (await http.post(f"/threads/{uuid4()}/runs/wait", json=body)).text


async def by_commands(http: AsyncClient, agent: str) -> str:
    thread = str(uuid4())
    params = {"assistant_id": agent, "input": INPUT}
    begun = await http.post(f"/threads/{thread}/commands", json={"id": 1, "method": "run.start", "params": params})
    if begun.json()["type"] == "error":
        return begun.text
    return (await http.get(f"/threads/{thread}/runs/{begun.json()['result']['run_id']}/join")).text


async def by_front_end(http: AsyncClient, agent: str) -> str:
    said = [{"id": "m", "role": "user", "content": "hello"}]
    body = {"threadId": str(uuid4()), "runId": "r", "messages": said}
    return (await http.post(f"/agui/{agent}", json=body)).text


async def by_chat(http: AsyncClient, agent: str) -> str:
    address = f"ws://127.0.0.1:{http.base_url.port}/api/chat/ws?threadId={uuid4()}&agentId={agent}&cursor=0"
    async with connect(address, proxy=None, additional_headers=somebody("ann")) as socket:
        try:
            await socket.send('{"type": "message", "requestId": "r", "content": "hello"}')
            while True:
                frame = await asyncio.wait_for(socket.recv(), 30)
                if json.loads(frame)["type"] in ("final", "error"):
                    return str(frame)
        except ConnectionClosed as end:
            return str(end.rcvd)


Way = Callable[[AsyncClient, str], Awaitable[str]]


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [by_rest, by_commands, by_front_end, by_chat])
async def test_rules_hear_the_same_of_a_run_and_what_they_set_of_its_config_counts(http: AsyncClient, way: Way) -> None:
    assert HEARD in await way(http, "tell")
    refused = await way(http, "vault")
    assert "the vault is locked" in refused
    assert "the secret" not in refused


async def frame_of(socket: Any, kind: str) -> dict[str, Any]:
    """The next one of that kind."""
    while (frame := json.loads(await asyncio.wait_for(socket.recv(), 30)))["type"] != kind:
        pass
    found: dict[str, Any] = frame
    return found


@pytest.mark.asyncio
async def test_a_chat_with_a_graph_that_the_rules_lock_is_closed_before_a_word(locked: Server) -> None:
    address = f"{locked.url}/api/chat/ws?threadId={uuid4()}&agentId=vault&cursor=0"
    async with connect(address, proxy=None, additional_headers=somebody("ann")) as socket:
        with pytest.raises(ConnectionClosed, match="the vault is locked"):
            await asyncio.wait_for(socket.recv(), 30)


@pytest.mark.asyncio
async def test_what_rules_set_of_an_answer_counts_too(locked: Server) -> None:
    address = f"{locked.url}/api/chat/ws?threadId={uuid4()}&agentId=ask&cursor=0"
    async with connect(address, proxy=None, additional_headers=somebody("ann")) as socket:
        await socket.send('{"type": "message", "requestId": "r", "content": "hello"}')
        asked = await frame_of(socket, "question")
        answer = {"type": "respond", "requestId": "a", "interruptId": asked["interruptId"], "value": "yes"}
        await socket.send(json.dumps(answer))
        assert f"yes: {HEARD}" in str(await frame_of(socket, "final"))


@pytest.mark.asyncio
@pytest.mark.parametrize("way", [by_rest, by_commands, by_front_end])
async def test_an_assistant_that_the_rules_hide_runs_nowhere(http: AsyncClient, way: Way) -> None:
    made = {}
    for draft in (True, False):
        body = {"graph_id": "tell", "name": "mine", "metadata": {"draft": draft}}
        made[draft] = (await http.post("/assistants", json=body)).json()["assistant_id"]
    assert HEARD in await way(http, made[False])
    hidden, unknown = made[True], str(uuid4())
    assert (await way(http, hidden)).replace(hidden, "-") == (await way(http, unknown)).replace(unknown, "-")
    assert "Invalid assistant" in await way(http, hidden)


@pytest.mark.asyncio
async def test_who_may_not_change_a_thread_cancels_none_of_its_runs(locked: Server, http: AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    run = (await http.post(f"/threads/{thread}/runs", json={"assistant_id": "slow", "input": INPUT})).json()["run_id"]
    reader, there = somebody("ann.reader"), f"/threads/{thread}/runs/{run}"
    assert (await http.get(there, headers=reader)).status_code == 200
    command = {"id": 1, "method": "run.cancel", "params": {}}
    for method, path, body, status, words in (
        ("POST", f"{there}/cancel", {}, 403, "interrupt: to be read only"),
        ("POST", f"{there}/cancel?action=rollback", {}, 403, "rollback: to be read only"),
        ("GET", f"{there}/join?cancel_on_disconnect=1", None, 403, "interrupt: to be read only"),
        ("GET", f"{there}/stream?cancel_on_disconnect=1", None, 403, "interrupt: to be read only"),
        ("POST", "/runs/cancel", {"thread_id": thread, "run_ids": [run]}, 403, "interrupt: to be read only"),
        ("POST", "/runs/cancel", {"status": "all"}, 404, "No runs found"),
        ("POST", f"/threads/{thread}/commands", command, 200, "permission_denied"),
    ):
        reply = await http.request(method, path, json=body, headers=reader)
        assert (reply.status_code, words in reply.text) == (status, True), (path, reply.text)
    address = f"{locked.url}/api/chat/ws?threadId={thread}&agentId=slow&cursor=0"
    async with connect(address, proxy=None, additional_headers=reader) as socket:
        await socket.send(json.dumps({"type": "cancel", "requestId": run}))
        refused = await frame_of(socket, "error")
        assert (refused["code"], refused["requestId"]) == ("not_allowed", run)
    assert (await http.get(there)).json()["status"] in ("pending", "running")
    assert (await http.post(f"{there}/cancel")).status_code == 202


@pytest.mark.asyncio
async def test_a_session_is_as_hidden_as_its_thread(http: AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "tell", "input": INPUT})
    key, blue = f"/api/sessions/ann:tell:{thread}", somebody("ann.blue")
    assert (await http.get(f"/threads/{thread}", headers=blue)).status_code == 404
    shown = await http.get(f"{key}/timeline")
    assert shown.status_code == 200
    entries = [entry for turn in shown.json()["turns"] for entry in turn["entries"]]
    place = next(entry["checkpointId"] for entry in entries if entry["kind"] == "checkpoint")
    assert (await http.get(f"{key}/checkpoints/{place}")).status_code == 200
    for method, path, own in (
        ("GET", "timeline", 200),
        ("GET", f"checkpoints/{place}", 200),
        ("POST", "effects/x/retry", 409),
    ):
        hidden = await http.request(method, f"{key}/{path}", headers=blue)
        nowhere = await http.request(method, f"/api/sessions/ann:tell:{uuid4()}/{path}", headers=blue)
        assert (hidden.status_code, hidden.text) == (404, nowhere.text)
        assert (await http.request(method, f"{key}/{path}")).status_code == own
    reader = somebody("ann.reader")
    assert (await http.get(f"{key}/timeline", headers=reader)).status_code == 200
    assert (await http.post(f"{key}/effects/x/retry", headers=reader)).status_code == 403


@pytest.mark.asyncio
async def test_a_thread_that_the_page_makes_is_named_to_the_rules(http: AsyncClient) -> None:
    refused = await http.post("/api/threads", json={"threadId": "taken"})
    assert (refused.status_code, "not this name" in refused.text) == (403, True)
    made = await http.post("/api/threads", json={"threadId": f"free-{uuid4()}"})
    assert made.status_code == 201
    record = (await http.get(f"/threads/{made.json()['threadId']}")).json()
    assert record["metadata"]["team"] == "red"
