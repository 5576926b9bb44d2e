"""Runs as LangGraph's own Python client starts, follows, lists and stops them, unmodified."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.web.rest import Rest
from unbroken.application.live_sessions import TAIL
from unbroken.application.subscribe import PAGE
from unbroken.entrypoints.langgraph_api.graph_ids import assistant_id_of

LONG = "words=400 pause=0.02"
"""An answer that is still under way when it is asked about."""
MANY = PAGE + TAIL + 10
"""Questions: more than a page of the log and what memory holds of it."""


@pytest_asyncio.fixture
async def client(memory_server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=f"http://127.0.0.1:{memory_server.port}") as client:
        yield client


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def texts(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


async def status_becomes(client: LangGraphClient, thread: str, run: str, *wanted: str) -> str:
    async with asyncio.timeout(60):
        while (status := (await client.runs.get(thread, run))["status"]) not in wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return str(status)


@pytest.mark.asyncio
async def test_a_run_is_streamed_listed_and_joined(client: LangGraphClient) -> None:
    thread = str(uuid4())
    created: list[Any] = []
    parts = [
        part
        async for part in client.runs.stream(
            thread,
            "one",
            input=human("hello"),
            stream_mode=["values", "messages-tuple"],
            metadata={"mark": "m"},
            if_not_exists="create",
            on_run_created=created.append,
        )
    ]
    assert parts[0].event == "metadata"
    run_id = parts[0].data["run_id"]
    assert created == [{"run_id": run_id, "thread_id": thread}]
    assert parts[-1].event == "values"
    said, answer = texts(parts[-1].data)
    assert said == "hello"
    streamed = [part.data[0]["content"] for part in parts if part.event == "messages"]
    assert "".join(streamed) == answer
    assert all(part.id for part in parts)
    assert len({part.id for part in parts}) == len(parts)
    (run,) = await client.runs.list(thread)
    assert run == await client.runs.get(thread, run_id)
    assert (run["run_id"], run["thread_id"], run["status"]) == (run_id, thread, "success")
    assert run["assistant_id"] == assistant_id_of("one")
    metadata = run["metadata"] or {}
    assert (metadata["mark"], metadata["graph_id"]) == ("m", "one")
    assert await client.runs.list(thread, status="error") == []
    assert await client.runs.list(thread, select=["run_id", "status"]) == [{"run_id": run_id, "status": "success"}]
    assert await client.runs.join(thread, run_id) == parts[-1].data
    joined = [part async for part in client.runs.join_stream(thread, run_id, stream_mode="values")]
    assert [(part.event, part.data) for part in joined] == [("values", parts[-1].data)]
    last = joined[-1].id
    assert last is not None
    assert [part async for part in client.runs.join_stream(thread, run_id, last_event_id=last)] == []


@pytest.mark.asyncio
async def test_wait_gives_the_values_of_the_run_that_it_started(client: LangGraphClient) -> None:
    thread = str(uuid4())
    first, second = await asyncio.gather(
        client.runs.wait(thread, "three", input=human("words=60 pause=0.01"), if_not_exists="create"),
        client.runs.wait(thread, assistant_id_of("three"), input=human("and again"), if_not_exists="create"),
    )
    shorter, longer = sorted((texts(first), texts(second)), key=len)
    assert len(shorter) == 3
    assert longer[:3] == shorter


@pytest.mark.asyncio
async def test_a_run_that_fails_tells_as_what(client: LangGraphClient) -> None:
    thread = str(uuid4())
    failed = await client.runs.wait(thread, "one", input=human("fail=3"), if_not_exists="create", raise_error=False)
    assert isinstance(failed, dict)
    assert failed["__error__"]["error"] != "model_failed"
    parts = [part async for part in client.runs.stream(thread, "one", input=human("fail=3"))]
    assert (parts[-1].event, parts[-1].data) == ("error", failed["__error__"])
    assert {run["status"] for run in await client.runs.list(thread)} == {"error"}


@pytest.mark.asyncio
async def test_what_a_run_asks_comes_with_its_end(client: LangGraphClient) -> None:
    thread = str(uuid4())
    asked = await client.runs.wait(thread, "endings", input=human("ask=1"), if_not_exists="create")
    assert isinstance(asked, dict)
    assert [one["value"] for one in asked["__interrupt__"]] == [{"question": "number 1?"}]
    (run,) = await client.runs.list(thread)
    assert run["status"] == "success"


@pytest.mark.asyncio
async def test_questions_that_a_page_of_the_log_does_not_hold_come_with_the_end_as_well(
    client: LangGraphClient,
) -> None:
    thread = str(uuid4())
    asked = await client.runs.wait(thread, "endings", input=human(f"ask={MANY}"), if_not_exists="create")
    assert isinstance(asked, dict)
    questions = {f"number {number}?" for number in range(1, MANY + 1)}
    assert {one["value"]["question"] for one in asked["__interrupt__"]} == questions
    (run,) = await client.runs.list(thread)
    joined = await client.runs.join(thread, run["run_id"])
    assert joined["__interrupt__"] == asked["__interrupt__"]
    first = asked["__interrupt__"][0]
    left = await client.runs.wait(thread, "endings", command={"resume": {first["id"]: "one"}})
    assert isinstance(left, dict)
    assert left["__interrupt__"] == asked["__interrupt__"][1:], "read from far back in the log"


@pytest.mark.asyncio
async def test_what_a_run_leaves_open_comes_with_its_end(client: LangGraphClient) -> None:
    thread = str(uuid4())
    asked = await client.runs.wait(thread, "endings", input=human("ask=2"), if_not_exists="create")
    assert isinstance(asked, dict)
    first, second = asked["__interrupt__"]
    left = await client.runs.wait(thread, "endings", command={"resume": {first["id"]: "one"}})
    assert isinstance(left, dict)
    assert left["__interrupt__"] == [second]
    (run, _) = await client.runs.list(thread)
    assert (await client.runs.join(thread, run["run_id"]))["__interrupt__"] == [second]


@pytest.mark.asyncio
async def test_a_run_is_cancelled_and_who_waits_hears(client: LangGraphClient) -> None:
    thread = str(uuid4())
    run = (await client.runs.create(thread, "one", input=human(LONG), if_not_exists="create"))["run_id"]
    await status_becomes(client, thread, run, "running")
    joining = asyncio.create_task(_read(client, thread, run))
    await client.runs.cancel(thread, run, wait=True)
    assert await status_becomes(client, thread, run, "interrupted") == "interrupted"
    assert (await joining)[-1] == "values"
    with pytest.raises(httpx.HTTPStatusError) as gone:
        await client.runs.cancel(thread, run)
    assert gone.value.response.status_code == 404


async def _read(client: LangGraphClient, thread: str, run: str) -> list[str]:
    return [part.event async for part in client.runs.join_stream(thread, run, stream_mode="values")]


@pytest.mark.asyncio
async def test_a_run_that_is_rolled_back_leaves_nothing_in_the_state(client: LangGraphClient) -> None:
    thread = str(uuid4())
    before = await client.runs.wait(thread, "one", input=human("first"), if_not_exists="create")
    for action in ("rollback", "interrupt"):
        run = (await client.runs.create(thread, "one", input=human(LONG)))["run_id"]
        await status_becomes(client, thread, run, "running")
        await client.runs.cancel(thread, run, wait=True, action=action)
        after = await client.runs.join(thread, run)
        assert (texts(after) == texts(before)) == (action == "rollback")


@pytest.mark.asyncio
async def test_a_thread_is_followed_over_its_runs(client: LangGraphClient, memory_server: Server) -> None:
    thread = str(uuid4())
    await client.runs.wait(thread, "one", input=human("before"), if_not_exists="create")
    heard: list[Any] = []
    following = asyncio.create_task(_follow(client, thread, heard))
    runs = []
    while not heard:
        runs.append((await client.runs.create(thread, "one", input=human("words=5")))["run_id"])
        await client.runs.join(thread, runs[-1])
    following.cancel()
    last = heard[-1].id
    missed = (await client.runs.create(thread, "one", input=human("meanwhile"), stream_mode="updates"))["run_id"]
    await client.runs.join(thread, missed)
    later: list[Any] = []
    again = asyncio.create_task(_follow(client, thread, later, last_event_id=last))
    async with asyncio.timeout(60):
        while not _done(later, missed):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    again.cancel()
    await asyncio.gather(following, again, return_exceptions=True)
    ids = [part.id for part in [*heard, *later]]
    assert len(ids) == len(set(ids))


@pytest.mark.asyncio
@pytest.mark.parametrize("beginning", ["-", "-1", "0", "0-0"])
async def test_a_thread_is_followed_from_its_beginning(client: LangGraphClient, beginning: str) -> None:
    thread = str(uuid4())
    for text in ("first", "second"):
        await client.runs.wait(thread, "one", input=human(text), if_not_exists="create")
    runs = [run["run_id"] for run in await client.runs.list(thread)][::-1]
    heard: list[Any] = []
    following = asyncio.create_task(_follow(client, thread, heard, last_event_id=beginning))
    async with asyncio.timeout(60):
        while not _done(heard, runs[-1]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert [part.data["run_id"] for part in heard if part.event == "metadata" and "status" in part.data] == runs


async def _follow(client: LangGraphClient, thread: str, heard: list[Any], **options: Any) -> None:
    async for part in await client.threads.join_stream(thread, stream_mode=["run_modes", "lifecycle"], **options):
        heard.append(part)  # noqa: PERF401  somebody looks at it meanwhile


def _done(parts: list[Any], run: str) -> bool:
    return any(part.event == "metadata" and part.data == {"status": "run_done", "run_id": run} for part in parts)


@pytest.mark.asyncio
async def test_many_are_cancelled_at_once(client: LangGraphClient) -> None:
    thread = str(uuid4())
    runs = [
        (await client.runs.create(thread, "one", input=human(LONG), if_not_exists="create"))["run_id"] for _ in range(3)
    ]
    await client.runs.cancel_many(thread_id=thread, run_ids=[*runs, str(uuid4())])
    for run in runs:
        await status_becomes(client, thread, run, "interrupted")
    with pytest.raises(httpx.HTTPStatusError):
        await client.runs.cancel_many(thread_id=thread, run_ids=runs)


@pytest.mark.asyncio
async def test_strategies_of_a_busy_thread(client: LangGraphClient) -> None:
    thread = str(uuid4())
    first = (await client.runs.create(thread, "one", input=human(LONG), if_not_exists="create"))["run_id"]
    await status_becomes(client, thread, first, "running")
    with pytest.raises(httpx.HTTPStatusError) as busy:
        await client.runs.create(thread, "one", input=human("now"), multitask_strategy="reject")
    assert busy.value.response.status_code == 409
    waiting = (await client.runs.create(thread, "one", input=human("later")))["run_id"]
    assert (await client.runs.get(thread, waiting))["status"] == "pending"
    assert (await client.runs.list(thread, status="pending"))[0]["run_id"] == waiting
    await client.runs.wait(thread, "one", input=human("now"), multitask_strategy="interrupt")
    assert await status_becomes(client, thread, first, "interrupted")
    assert await status_becomes(client, thread, waiting, "interrupted")


@pytest.mark.asyncio
async def test_who_leaves_cancels_if_it_said_so(client: LangGraphClient) -> None:
    thread = str(uuid4())
    for on_disconnect in ("continue", "cancel"):
        stream = client.runs.stream(
            thread,
            "one",
            input=human("words=150 pause=0.02"),
            if_not_exists="create",
            on_disconnect=on_disconnect,
        )
        run = (await anext(stream)).data["run_id"]
        await stream.aclose()  # type: ignore[attr-defined]
        wanted = "success" if on_disconnect == "continue" else "interrupted"
        assert await status_becomes(client, thread, run, "success", "interrupted") == wanted


@pytest.mark.asyncio
async def test_a_run_without_a_thread_leaves_none(client: LangGraphClient, memory_server: Server) -> None:
    rest = Rest(memory_server, "local")
    values = await client.runs.wait(None, "one", input=human("alone"))
    assert texts(values)[0] == "alone"
    created: list[Any] = []
    parts = [
        part async for part in client.runs.stream(None, "one", input=human("alone"), on_run_created=created.append)
    ]
    assert texts(parts[-1].data)[0] == "alone"
    background = await client.runs.create_batch(
        [{"assistant_id": "one", "input": human(text)} for text in ("a", "b")]  # type: ignore[typeddict-item]
    )
    threads = [created[0]["thread_id"], *(run["thread_id"] for run in background)]
    deadline = time.monotonic() + 60
    for thread in threads:
        while rest.ask("GET", f"/api/threads/{thread}").status != 404:
            assert time.monotonic() < deadline, "its thread stays"
            await asyncio.sleep(0.02)
    kept = await client.runs.create(None, "one", input=human("kept"), on_completion="keep")
    await client.runs.join(kept["thread_id"], kept["run_id"])
    assert rest.ask("GET", f"/api/threads/{kept['thread_id']}").status == 200


@pytest.mark.asyncio
async def test_a_chat_message_is_a_run_as_well(client: LangGraphClient, memory_server: Server) -> None:
    thread = str(uuid4())
    async with Client(memory_server.url, thread=thread, agent="one") as chat:
        request = await chat.say("words=100 pause=0.02")
        await chat.until(lambda c: request in c.view.users)
        (run,) = await client.runs.list(thread)
        parts = [
            part
            async for part in client.runs.join_stream(thread, run["run_id"], stream_mode=["messages-tuple", "values"])
        ]
        (answer,) = await chat.answered(request)
    assert len([part for part in parts if part.event == "messages"]) > 1
    assert "".join(part.data[0]["content"] for part in parts if part.event == "messages") == answer["message"]
    assert texts(parts[-1].data) == ["words=100 pause=0.02", answer["message"]]


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no assistant": ({"assistant_id": "nobody"}, 422, "nobody"),
    "no body": ({}, 422, "assistant_id"),
    "events": ({"assistant_id": "one", "stream_mode": ["values", "events"]}, 422, "not recorded"),
    "a mode of the other protocol": ({"assistant_id": "one", "stream_mode": "tools"}, 422, "v2"),
    "no mode": ({"assistant_id": "one", "stream_mode": "morse"}, 422, "morse"),
    "webhook": ({"assistant_id": "one", "webhook": "http://127.0.0.1/"}, 422, "webhook"),
    "later": ({"assistant_id": "one", "after_seconds": 5}, 422, "after_seconds"),
    "no command": ({"assistant_id": "one", "command": {"jump": 1}}, 422, "jump"),
    "a subgraph's checkpoint": ({"assistant_id": "one", "checkpoint": {"checkpoint_ns": "a:1"}}, 422, "root"),
    "both": ({"assistant_id": "one", "context": {"a": 1}, "config": {"configurable": {"b": 1}}}, 422, "both"),
    "no strategy": ({"assistant_id": "one", "multitask_strategy": "shove"}, 422, "shove"),
    "no object": ({"assistant_id": "one", "config": {"metadata": 3}}, 422, "config.metadata"),
    "no number": ({"assistant_id": "one", "config": {"recursion_limit": "many"}}, 422, "config.recursion_limit"),
    "no step": ({"assistant_id": "one", "config": {"recursion_limit": 0}}, 422, "config.recursion_limit"),
    "no list": ({"assistant_id": "one", "config": {"tags": 3}}, 422, "config.tags"),
    "no thread": ({"assistant_id": "one", "input": {}}, 404, "thread"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_with_a_sentence(memory_server: Server, name: str) -> None:
    body, status, word = REFUSED[name]
    rest = Rest(memory_server, "local")
    for route in ("", "/stream", "/wait"):
        reply = rest.ask("POST", f"/threads/{uuid4()}/runs{route}", body)
        assert reply.status == status
        assert reply.json.keys() == {"detail"}
        assert word in reply.json["detail"]


def test_nobody_skips_more_runs_than_there_can_be(memory_server: Server) -> None:
    rest = Rest(memory_server, "local")
    thread = str(uuid4())
    rest.ask("POST", f"/threads/{thread}/runs/wait", {"assistant_id": "one", "if_not_exists": "create"})
    assert rest.ask("GET", f"/threads/{thread}/runs?offset={10**9}").json == []
    assert rest.ask("GET", f"/threads/{thread}/runs?offset={10**30}").status == 422


def test_a_thread_belongs_to_one_graph(memory_server: Server) -> None:
    rest = Rest(memory_server, "local")
    thread = str(uuid4())
    body = {"assistant_id": "one", "input": human("hello"), "if_not_exists": "create"}
    assert rest.ask("POST", f"/threads/{thread}/runs/wait", body).status == 200
    other = rest.ask("POST", f"/threads/{thread}/runs/wait", body | {"assistant_id": "three"})
    assert other.status == 409
    assert "'one'" in other.json["detail"]


def test_a_body_may_be_as_long_as_a_frame_and_no_longer(memory_server: Server) -> None:
    """It is refused by its announced length, before any of it is there."""
    announced = f"POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {(1 << 20) + 1}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", memory_server.port), timeout=30)) as raw:
        raw.sendall(announced.encode())
        told = b""
        while piece := raw.recv(4096):
            told += piece
    assert told.startswith(b"HTTP/1.1 413")
    assert b'{"detail":"the body is longer than' in told
