"""Signals and what they lead to: everyone is told, work is finished or handed back, and the process is gone in time."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import GRAPHS, UNBROKEN, Server, environment
from tests.end_to_end.tables import read_thread
from tests.platform.probes import probe, until_ready_is
from unbroken.entrypoints.stopping import CUT_OFF

LONG = "words=60 pause=0.05"


async def gone(server: Server, limit_s: float) -> int:
    """The exit code. Raises subprocess.TimeoutExpired if the process is not gone in time."""
    return await asyncio.to_thread(server.process.wait, limit_s)


def database_in(folder: Path) -> psutil.Process:
    (pid_file,) = folder.rglob("postmaster.pid")
    return psutil.Process(int(pid_file.read_text().split()[0]))


async def streaming(client: Client, request: str) -> None:
    await client.until(lambda c: bool(c.view.shown.get(request)))


@pytest.mark.asyncio
async def test_while_turns_are_drained_it_is_not_ready_sends_everyone_away_and_finishes_what_it_began(
    folder: Path, database_url: str
) -> None:
    with Server(
        folder, database_url=database_url, environment={"UNBROKEN_DRAIN_S": "20", "UNBROKEN_STOP_LIMIT_S": "60"}
    ) as server:
        async with Client(server.url, thread="t", agent="one") as client:
            request = await client.say(LONG)
            await streaming(client, request)
            server.process.send_signal(signal.SIGTERM)
            checks = await until_ready_is(server, 503)
            assert {name for name, found in checks.items() if found != "ok"} == {"serving"}
            assert (await asyncio.to_thread(probe, server, "/health/live"))[0] == 200
            assert (await client.ended())[0] == 1012
            async with Client(server.url, thread="u", agent="one") as newcomer:
                assert (await newcomer.ended())[0] == 1012
                assert newcomer.view.frames == []
            assert await gone(server, 30) == 0
        stored = await read_thread(database_url, "t")
        assert [entry.payload["attempt"] for entry in stored.log] == [1], "it ended in the attempt that was shown"


@pytest.mark.asyncio
async def test_what_does_not_end_is_cut_off_and_another_replica_goes_on_at_once_and_doubles_nothing(
    folder: Path, database_url: str
) -> None:
    patient = {"UNBROKEN_LEASE_TTL_S": "600", "UNBROKEN_RECOVERY_POLL_S": "0.2"}
    brief = patient | {"UNBROKEN_DRAIN_S": "0.3", "UNBROKEN_STOP_LIMIT_S": "20"}
    asked = {"blocks": "block=10", "deaf": "deaf=10", "streams": LONG}
    (folder / "heir").mkdir()
    with Server(folder / "heir", database_url=database_url, environment=patient) as heir:
        with Server(folder, database_url=database_url, environment=brief) as server:
            for thread, text in asked.items():
                async with Client(server.url, thread=thread, agent="endings") as client:
                    await streaming(client, await client.say(text, f"{thread}-1"))
                    await client.say("words=3", f"{thread}-2")
                    await client.until(lambda c: len(c.view.receipts) == 2)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert await gone(server, 9) == CUT_OFF, "a thread of an agent's was still blocked"
            assert time.monotonic() - began < 9
        for thread in asked:
            async with Client(heir.url, thread=thread, agent="endings") as client:
                await client.answered(f"{thread}-1", f"{thread}-2", patience_s=60)
                assert client.view.faults == []
                assert len(client.view.log) == 2
            stored = await read_thread(database_url, thread)
            assert [event.request_id for event in stored.events] == [f"{thread}-1", f"{thread}-2"]


@pytest.mark.asyncio
async def test_an_agent_that_freezes_the_event_loop_does_not_keep_the_process(folder: Path) -> None:
    arguments = ["--in-memory", "--agent", f"freezing={GRAPHS / 'freezing.py'}:graph"]
    limits = {"UNBROKEN_DRAIN_S": "0.1", "UNBROKEN_STOP_LIMIT_S": "1.5"}
    with Server(folder, arguments=arguments, environment=limits) as server:
        async with Client(server.url, thread="t", agent="freezing") as client:
            await client.say("hello")
            await client.until(lambda c: bool(c.view.receipts))
            server.process.send_signal(signal.SIGTERM)
            assert await gone(server, 10) == CUT_OFF
        assert "the stop took longer than 1.5 s" in server.said()
        assert "Traceback" not in server.said()


@pytest.mark.asyncio
@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_second_signal_ends_it_at_once_and_its_database_with_it(
    folder: Path, by: signal.Signals, code: int
) -> None:
    with Server(folder, environment={"UNBROKEN_DRAIN_S": "60", "UNBROKEN_STOP_LIMIT_S": "90"}) as server:
        database = database_in(folder)
        async with Client(server.url, thread="t", agent="one") as client:
            await streaming(client, await client.say("words=500 pause=0.05"))
            server.process.send_signal(by)
            await until_ready_is(server, 503)
            server.process.send_signal(by)
            assert await gone(server, 3) == code
        assert "Traceback" not in server.said()
        database.wait(10)


@pytest.mark.parametrize("delay_s", [0.3, 0.7, 1.2, 1.8])
def test_ctrl_c_while_it_is_still_loading_says_nothing_and_exits_with_130(folder: Path, delay_s: float) -> None:
    process = subprocess.Popen(
        [UNBROKEN, "serve", "--in-memory", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        cwd=folder,
        text=True,
    )
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert "Traceback" not in said, said
    if "page    http" not in said:
        assert process.returncode == 130


def test_help_and_chat_do_not_load_the_server() -> None:
    program = (
        "import sys; import unbroken.entrypoints.cli; print({'litestar', 'langgraph', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n"
