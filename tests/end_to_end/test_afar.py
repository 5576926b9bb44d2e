"""Two real servers, one database, a real broker: clients at both watch one session live."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bus.nats_server import NatsServer
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.view import units

LONG = "words=120 pause=0.02"
LEASE_S = 3


class Timed:
    """When each piece of a request's text was first shown to a client, by the offset of its end."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, int], float] = {}

    def __call__(self, line: dict[str, Any]) -> None:
        frame = line.get("frame")
        if isinstance(frame, dict) and frame.get("type") == "token":
            self.at.setdefault((frame["requestId"], frame["offset"] + units(frame["value"])), time.perf_counter())


@asynccontextmanager
async def replicas(folder: Path, database_url: str, *, bus_url: str) -> AsyncIterator[tuple[Server, Server]]:
    """Two of them, side by side."""
    environment = {
        "UNBROKEN_BUS_URL": bus_url,
        "UNBROKEN_LEASE_TTL_S": str(LEASE_S),
        "UNBROKEN_HEARTBEAT_S": "0.5",
        "UNBROKEN_RETRY_BACKOFF_S": "0.05",
    }
    servers = []
    for name in ("a", "b"):
        directory = folder / name
        directory.mkdir()
        servers.append(Server(directory, database_url=database_url, environment=environment))
    with servers[0], servers[1]:
        yield servers[0], servers[1]


def written(hops: list[float]) -> None:
    """The figures, for whoever asks for them."""
    if target := os.environ.get("UNBROKEN_TEST_FIGURES"):
        cuts = statistics.quantiles(hops, n=100)
        figures = {"tokens": len(hops), "p50_ms": 1e3 * cuts[49], "p90_ms": 1e3 * cuts[89], "p99_ms": 1e3 * cuts[98]}
        Path(target).write_text(json.dumps(figures))


@pytest.mark.asyncio
async def test_clients_at_two_replicas_watch_one_session_live(
    folder: Path, new_database: Callable[[int], str], thread: str
) -> None:
    here, there = Timed(), Timed()
    async with (
        NatsServer() as broker,
        replicas(folder, new_database(18), bus_url=broker.url) as (a, b),
        Client(a.url, thread=thread, record=here) as first,
        Client(b.url, thread=thread, record=there) as second,
    ):
        for _ in range(3):
            request = await first.say(LONG)
            await second.until(lambda c, r=request: len(c.view.shown.get(r, "")) > 40)  # type: ignore[misc]
            assert request not in second.view.ends, "it is shown as it is said"
            (final,) = await second.answered(request)
            await first.answered(request)
            tokens = [f["value"] for f in second.view.frames if f["type"] == "token" and f["requestId"] == request]
            assert "".join(tokens) == final["message"]
            assert len(tokens) > 60, "and word by word"
        assert first.view.faults == second.view.faults == []
    shared = sorted(here.at.keys() & there.at.keys())
    hops = [there.at[end] - here.at[end] for end in shared]
    assert len(hops) > 100
    written(hops)


@pytest.mark.asyncio
async def test_a_client_that_comes_to_another_replica_in_mid_answer_goes_on_at_its_offset(
    folder: Path, new_database: Callable[[int], str], thread: str
) -> None:
    async with (
        NatsServer() as broker,
        replicas(folder, new_database(18), bus_url=broker.url) as (a, b),
        Client(a.url, thread=thread, stays=True) as client,
    ):
        request = await client.say(LONG)
        for url in (b.url, a.url, b.url):
            length = units(client.view.shown.get(request, ""))
            await client.until(lambda c, least=length: units(c.view.shown.get(request, "")) > least + 20)  # type: ignore[misc]
            client.moves_to(url)
            client.cut()
        (final,) = await client.answered(request)
        assert client.view.faults == []
        tokens = [frame["value"] for frame in client.view.frames if frame["type"] == "token"]
        assert "".join(tokens) == final["message"], "no token came twice, and none was left out"


@pytest.mark.asyncio
async def test_a_broker_that_is_cut_and_comes_back_loses_no_text(
    folder: Path, new_database: Callable[[int], str], thread: str
) -> None:
    async with (
        NatsServer() as broker,
        replicas(folder, new_database(18), bus_url=broker.url) as (a, b),
        Client(a.url, thread=thread) as first,
        Client(b.url, thread=thread) as second,
    ):
        request = await first.say("words=20000 pause=0.02")  # it ends when it is told to
        await second.until(lambda c: len(c.view.shown.get(request, "")) > 40)
        await broker.kill()
        length = len(first.view.shown[request])
        await first.until(lambda c: len(c.view.shown[request]) > length + 200)
        await broker.start()
        await second.until(lambda c: len(c.view.shown[request]) > length + 200)
        assert request not in second.view.ends
        await second.cancel(request)
        await second.answered(request)
        await first.answered(request)
        assert first.view.faults == second.view.faults == []


@pytest.mark.asyncio
async def test_a_stopped_owner_says_nothing_more_once_it_goes_on_behind_its_lease(
    folder: Path, new_database: Callable[[int], str], thread: str
) -> None:
    async with (
        NatsServer() as broker,
        replicas(folder, new_database(18), bus_url=broker.url) as (a, b),
        Client(a.url, thread=thread) as first,
        Client(b.url, thread=thread) as second,
    ):
        request = await first.say("words=400 pause=0.02")
        await second.until(lambda c: len(c.view.shown.get(request, "")) > 40)
        a.process.send_signal(signal.SIGSTOP)
        try:
            await second.until(lambda c: c.view.attempts.get(request) == 2)
        finally:
            a.process.send_signal(signal.SIGCONT)
        stopped_at = len(first.view.frames)
        await second.answered(request)
        await first.answered(request)
        late = [frame for frame in first.view.frames[stopped_at:] if frame["type"] == "token" and frame["attempt"] == 1]
        assert sum(len(frame["value"]) for frame in late) < 100, "no more than it had taken for writing"
        assert first.view.faults == second.view.faults == []
