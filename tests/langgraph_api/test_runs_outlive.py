"""Streams of runs over two replicas and a database: the stock client ends with the right state, whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.end_to_end.conftest import folder
from tests.end_to_end.server import Server
from tests.end_to_end.test_answered_elsewhere import two_replicas

__all__ = ["folder"]

LONG = "words=120 pause=0.02"


@asynccontextmanager
async def clients(*servers: Server) -> AsyncIterator[tuple[LangGraphClient, ...]]:
    opened = tuple(get_client(url=f"http://127.0.0.1:{server.port}") for server in servers)
    try:
        yield opened
    finally:
        for client in opened:
            await client.aclose()


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def said(parts: Sequence[Any]) -> dict[str, str]:
    """By message, what its chunks come to."""
    texts: dict[str, str] = {}
    for part in parts:
        if part.event == "messages":
            chunk = part.data[0]
            texts[chunk["id"]] = texts.get(chunk["id"], "") + chunk["content"]
    return texts


async def state_of(client: LangGraphClient, thread: str) -> Any:
    return (await client.threads.get_state(thread))["values"]


async def some(parts: AsyncIterator[Any], count: int) -> list[Any]:
    """The first of them, and the stream's end."""
    found = []
    async for part in parts:
        found.append(part)
        if len(found) == count:
            break
    await parts.aclose()  # type: ignore[attr-defined]
    return found


@pytest.mark.asyncio
async def test_a_stream_goes_on_at_another_replica_exactly_where_it_was_left(
    folder: Path,
    new_database: Callable[[int], str],
) -> None:
    thread = str(uuid4())
    modes: Any = ["values", "messages-tuple", "updates"]
    with two_replicas(folder, new_database(18)) as (a, b):
        async with clients(a, b) as (here, there):
            began = here.runs.stream(
                thread, "three", input=human(LONG), stream_mode=modes, if_not_exists="create", on_disconnect="continue"
            )
            had = await some(began, 40)
            run = had[0].data["run_id"]
            whole = asyncio.create_task(_read(here, thread, run, modes))
            middle = await some(there.runs.join_stream(thread, run, stream_mode=modes, last_event_id=had[-1].id), 40)
            rest = await _read(here, thread, run, modes, middle[-1].id)
            pieces = [*had, *middle, *rest]
            ids = [part.id for part in pieces]
            assert len(set(ids)) == len(ids)
            state = await state_of(there, thread)
            assert said(pieces) == {one["id"]: one["content"] for one in state["messages"] if one["type"] == "ai"}
            assert said(await whole) == said(pieces)
            assert pieces[-1].data == state


async def _read(client: LangGraphClient, thread: str, run: str, modes: Any, last: str | None = None) -> list[Any]:
    stream = client.runs.join_stream(thread, run, stream_mode=modes, last_event_id=last)
    return [part async for part in stream]


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["killed", "stopped"])
async def test_a_client_whose_server_ends_in_mid_answer_ends_with_the_right_state(
    folder: Path,
    new_database: Callable[[int], str],
    end: str,
) -> None:
    thread = str(uuid4())
    with two_replicas(folder, new_database(18)) as (a, b):
        async with clients(a, b) as (here, there):
            parts: list[Any] = []
            kill: asyncio.Task[None] | None = None
            stream = here.runs.stream(
                thread, "three", input=human(LONG), stream_mode=["values", "messages-tuple"], if_not_exists="create"
            )
            async for part in stream:
                parts.append(part)
                if kill is None and len(parts) == 20:
                    kill = asyncio.create_task(asyncio.to_thread(_again, a, end))
            assert kill is not None
            await kill
            attempts = [part.data["attempt"] for part in parts if part.event == "metadata"]
            assert attempts == sorted(set(attempts))
            values = [part.data for part in parts if part.event == "values"]
            state = await state_of(there, thread)
            assert len(state["messages"]) == 3
            assert values[-1] == state
            (run,) = await there.runs.list(thread)
            assert run["status"] == "success"


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.filterwarnings("ignore:Request failed, attempting reconnect:UserWarning")
async def test_who_waits_for_a_run_hears_of_it_although_its_server_ended(
    folder: Path,
    new_database: Callable[[int], str],
    end: str,
) -> None:
    thread = str(uuid4())
    with two_replicas(folder, new_database(18)) as (a, b):
        async with clients(a, b) as (here, there):
            waiting = asyncio.create_task(here.runs.wait(thread, "three", input=human(LONG), if_not_exists="create"))
            async with asyncio.timeout(60):
                while not await _running(there, thread):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(_again, a, end)
            values = await waiting
            assert values == await state_of(there, thread)
            assert len(values["messages"]) == 3  # type: ignore[call-overload]


@pytest.mark.asyncio
async def test_a_stream_that_a_stopping_server_leaves_has_no_proper_end(tmp_path: Path) -> None:
    """Clients take one for the end of the run."""
    with Server(tmp_path, arguments=["--in-memory"]) as server:
        url = f"http://{server.host}:{server.port}/threads/{uuid4()}"
        body = {"assistant_id": "one", "input": human("words=500 pause=0.05"), "if_not_exists": "create"}
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as http,
            http.stream("POST", f"{url}/runs/stream", json=body | {"stream_mode": ["messages-tuple"]}) as response,
        ):
            pieces = response.aiter_raw()
            while b"event: messages" not in await anext(pieces):
                pass
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in pieces:
                    pass
        assert await stopping == 0
    assert "without completing" not in server.said()


async def _running(client: LangGraphClient, thread: str) -> bool:
    try:
        return bool(await client.runs.list(thread, status="running"))
    except Exception:  # noqa: BLE001  the thread is not there yet
        return False


def _again(server: Server, end: str) -> None:
    if end == "killed":
        server.kill()
    else:
        assert server.stop() == 0
    server.start()
    server.wait_ready()
