"""Several processes on one port: sockets spread over them, one that dies is replaced, and they end together."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.ports import free_port
from tests.end_to_end.server import GRAPHS, START_LIMIT_S, UNBROKEN, Server, environment
from tests.graphs.freezing import FROZEN
from tests.platform.probes import becomes
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

TWO = ("--workers", "2")


def workers_of(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "unbroken.entrypoints.cli" in child.cmdline()]


def all_serve(server: Server, times: int = 1) -> None:
    becomes(lambda: server.said().count("workers serve") >= times)


async def fetch(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()


def served(*arguments: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Of a server that is expected to end by itself."""
    return subprocess.run(
        [UNBROKEN, "serve", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_LIMIT_S,
        env=environment(**settings),
        cwd=folder,
    )


@pytest.mark.asyncio
async def test_sockets_spread_over_workers_that_are_replicas_of_one_database(folder: Path, database_url: str) -> None:
    names = {"UNBROKEN_REPLICA_NAME": "here", "UNBROKEN_LOG_FORMAT": "json"}
    with Server(folder, database_url=database_url, arguments=("--workers", "3"), environment=names) as server:
        await asyncio.to_thread(all_serve, server)
        owners: set[int] = set()
        async with AsyncExitStack() as stack:
            for number in range(80):
                client = await stack.enter_async_context(Client(server.url, thread=f"t{number}", agent="one"))
                await client.answered(await client.say("words=2"))
                owners = {row[0] for row in await fetch(database_url, "SELECT DISTINCT owner FROM sessions")}
                if len(owners) == 3:
                    break
        assert len(owners) == 3, "each socket's session belongs to the worker that has the socket"
        alive = await fetch(database_url, "SELECT name, id FROM replicas WHERE expires_at > now()")
        assert {row["name"] for row in alive} == {"here:1", "here:2", "here:3"}
        assert {row["id"] for row in alive} == owners
        lines = [json.loads(line) for line in server.said().splitlines() if line.startswith("{")]
        joined = {line["worker"] for line in lines if line["event"].startswith("joined")}
        assert joined == {1, 2, 3}, "each line names its worker"
        assert server.said().count("page    http") == 1
        processes = workers_of(server)
        assert await asyncio.to_thread(server.stop) == 0
    assert not any(process.is_running() for process in processes)
    assert await fetch(database_url, "SELECT FROM replicas WHERE expires_at > now()") == [], (
        "the leases were given back"
    )
    assert "Traceback" not in server.said()


@pytest.mark.asyncio
async def test_a_worker_that_is_killed_is_started_again_and_its_sessions_go_on(folder: Path, database_url: str) -> None:
    with Server(folder, database_url=database_url, arguments=TWO) as server:
        await asyncio.to_thread(all_serve, server)
        async with Client(server.url, thread="t", agent="one", stays=True) as client:
            request = await client.say("words=40 pause=0.05")
            await client.until(lambda c: bool(c.view.shown.get(request)))
            ((owner,),) = await fetch(database_url, "SELECT r.name FROM sessions s JOIN replicas r ON r.id = s.owner")
            number = owner.rpartition(":")[2]
            (victim,) = [one for one in workers_of(server) if f'"number":{number},' in one.cmdline()[-1]]
            victim.kill()
            (answer,) = await client.answered(request)
            assert answer["type"] == "final"
            assert client.view.faults == []
        await asyncio.to_thread(all_serve, server, 2)
        said = server.said()
        assert f"worker {number} (pid {victim.pid}) was killed by SIGKILL; it is started again" in said
        assert len(workers_of(server)) == 2


def test_a_worker_that_dies_again_and_again_stops_nobody_else(folder: Path, database_url: str) -> None:
    with Server(folder, database_url=database_url, arguments=TWO) as server:
        all_serve(server)
        steady, victim = sorted(workers_of(server), key=lambda worker: worker.cmdline()[-1])
        for deaths in range(1, 5):
            victim.kill()
            becomes(lambda deaths=deaths: server.said().count("was killed by SIGKILL") == deaths)  # type: ignore[misc]
            if deaths < 4:
                becomes(lambda: len(workers_of(server)) == 2)
                (victim,) = [worker for worker in workers_of(server) if worker != steady]
                # It has not begun to serve, and nobody is led to it.
                with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health/ready", timeout=10) as answer:
                    assert answer.status == 200
        assert steady.is_running()
        assert server.process.poll() is None


@pytest.mark.asyncio
async def test_ctrl_c_in_a_terminal_reaches_everyone_and_ends_them_once(folder: Path, database_url: str) -> None:
    with Server(folder, database_url=database_url, arguments=TWO) as server:
        await asyncio.to_thread(all_serve, server)
        processes = workers_of(server)
        async with Client(server.url, thread="t", agent="one") as client:
            request = await client.say("words=20 pause=0.05")
            await client.until(lambda c: bool(c.view.shown.get(request)))
            for pid in (*(process.pid for process in processes), server.process.pid):
                os.kill(pid, signal.SIGINT)
            assert await asyncio.to_thread(server.process.wait, 30) == 0
            assert (await client.ended())[0] == 1012
        assert not any(process.is_running() for process in processes)
        assert "Traceback" not in server.said()


def test_workers_whose_parent_is_killed_end_by_themselves(folder: Path, database_url: str) -> None:
    with Server(folder, database_url=database_url, arguments=TWO) as server:
        all_serve(server)
        processes = workers_of(server)
        server.kill()
        gone, left = psutil.wait_procs(processes, timeout=60)
        assert left == []
        assert len(gone) == 2
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", server.port))


@pytest.mark.asyncio
async def test_a_second_signal_ends_all_at_once_and_the_database_has_room_for_all(folder: Path) -> None:
    patient = {"UNBROKEN_DRAIN_S": "60", "UNBROKEN_STOP_LIMIT_S": "90", "UNBROKEN_POOL_SIZE": "60"}
    with Server(folder, arguments=TWO, environment=patient) as server:
        await asyncio.to_thread(all_serve, server)
        url = EmbeddedPostgres(folder / "data").served_url()
        ((room,),) = await fetch(url, "SELECT current_setting('max_connections')::int")
        assert room >= 2 * 60 + 10
        processes = workers_of(server)
        async with Client(server.url, thread="t", agent="one") as client:
            request = await client.say("words=500 pause=0.05")
            await client.until(lambda c: bool(c.view.shown.get(request)))
            server.process.send_signal(signal.SIGTERM)
            assert (await client.ended())[0] == 1012
            assert server.process.poll() is None, "the turn is drained"
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, 10) == 128 + signal.SIGTERM
        psutil.wait_procs(processes, timeout=10)
        assert not any(process.is_running() for process in processes)


def test_a_worker_that_outlasts_its_limit_is_cut_off_and_the_exit_code_says_so(folder: Path, database_url: str) -> None:
    limits = {"UNBROKEN_DRAIN_S": "0.1", "UNBROKEN_STOP_LIMIT_S": "2"}
    arguments = (*TWO, "--agent", f"freezing={GRAPHS / 'freezing.py'}:graph")
    with Server(folder, database_url=database_url, arguments=arguments, environment=limits) as server:
        all_serve(server)

        async def freeze() -> None:
            async with Client(server.url, thread="t", agent="freezing") as client:
                await client.say("hello")
                await client.until(lambda c: bool(c.view.receipts))

        asyncio.run(freeze())
        becomes(lambda: FROZEN in server.said())
        assert server.stop() == 4


def test_workers_that_cannot_start_are_given_up_with_a_reason(folder: Path, database_url: str) -> None:
    port = str(free_port())
    done = served(
        *(*TWO, "--port", port, "--agent", "none=/nowhere.py:graph"), folder=folder, DATABASE_URL=database_url
    )
    assert done.returncode == 1
    assert "/nowhere.py" in done.stderr
    assert re.search(r"worker \d ended with exit code 1 before it served", done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_somebody_has_is_said_before_anything_is_started(folder: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = served(*TWO, "--port", str(port), folder=folder)
    assert done.returncode == 1
    assert f"cannot serve on 127.0.0.1:{port}" in done.stderr
    assert "PostgreSQL" not in done.stderr


def test_workers_in_memory_are_refused(folder: Path) -> None:
    done = served(*TWO, "--in-memory", folder=folder)
    assert done.returncode == 1
    assert "UNBROKEN_WORKERS: what one process holds in memory no other one sees" in done.stderr


def test_a_free_port_is_one_for_all_of_them(folder: Path, database_url: str) -> None:
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [UNBROKEN, "serve", *TWO, "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment(DATABASE_URL=database_url),
            cwd=folder,
        )
    try:
        becomes(lambda: "workers serve" in log.read_text())
        found = re.search(r"page    (http://127\.0\.0\.1:(\d+)/)", log.read_text())
        assert found is not None
        for _ in range(8):
            with urllib.request.urlopen(f"{found[1]}health/ready", timeout=10) as answer:
                assert answer.status == 200
        names = asyncio.run(fetch(database_url, "SELECT name FROM replicas WHERE expires_at > now()"))
        assert {row["name"].rpartition(":")[2] for row in names} == {"1", "2"}
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0
