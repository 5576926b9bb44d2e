"""Signals and what they lead to: everyone is told, work is finished or handed back, and the process is gone in time."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Final

import psutil
import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import GRAPHS, UNBROKEN, Server, environment
from tests.end_to_end.tables import read_thread
from tests.graphs.endings import BLOCKED
from tests.graphs.freezing import FROZEN
from tests.platform.probes import becomes, probe, until_ready_is
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
            await asyncio.to_thread(becomes, lambda: BLOCKED in server.said())
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
            await asyncio.to_thread(becomes, lambda: FROZEN in server.said())
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


ENDED = {signal.SIGINT: 130, signal.SIGTERM: 0}
SOON_S = 60.0
"""Long enough for a busy machine, and much shorter than a stop's limit here."""
COMMAND = """
import signal, sys
from unbroken.entrypoints.cli import main
for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
    signal.signal(number, lambda *_, code=code: sys.exit(code))  # until `serve` has them, as it has at once
print("begins", flush=True)
main()
"""
CATCHES_ALL: Final = """
import time
try:
    print("loading", flush=True)
    time.sleep(600)
except BaseException:
    pass
"""
CALLED_BACK: Final = """
import time, weakref
thing = type("", (), {})()
held = weakref.ref(thing, lambda _: (print("loading", flush=True), time.sleep(600)))
del thing
"""
GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph
graph = StateGraph(MessagesState).add_node("n", lambda state: {}).add_edge(START, "n")
"""
FINDER = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "unbroken.entrypoints.%s":
            exec(%r, {})
sys.meta_path.insert(0, Finder())
"""


@contextmanager
def starting(folder: Path, *command: str | Path, settings: Mapping[str, str] | None = None) -> Iterator[Popen[str]]:
    """A server's process, which is gone afterwards, whatever came."""
    with Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(UNBROKEN_STOP_LIMIT_S="3600", **(settings or {})),
        cwd=folder,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: Popen[str], line: str) -> None:
    assert process.stdout is not None
    said = []
    while (came := process.stdout.readline()) != f"{line}\n":
        said.append(came)
        assert came, f"it ended and only said {said}"


@pytest.mark.parametrize("delay_s", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("by", ENDED)
def test_told_to_end_while_it_is_still_loading_it_says_nothing_and_ends(
    folder: Path, by: signal.Signals, delay_s: float
) -> None:
    with starting(folder, sys.executable, "-c", COMMAND, "serve", "--in-memory", "--port", "0") as process:
        says(process, "begins")
        time.sleep(delay_s)
        process.send_signal(by)
        said, _ = process.communicate(timeout=SOON_S)
    assert "Traceback" not in said, said
    assert process.returncode == (0 if "page    http" in said else ENDED[by])


@pytest.mark.parametrize("by", ENDED)
@pytest.mark.parametrize("deaf", [CATCHES_ALL, CALLED_BACK], ids=["catches all", "called back"])
def test_an_agent_that_swallows_the_signal_while_it_loads_is_not_served(
    folder: Path, by: signal.Signals, deaf: str
) -> None:
    (folder / "deaf.py").write_text(deaf + GRAPH)
    with starting(folder, UNBROKEN, "serve", "--in-memory", "--port", "0", "--agent", "a=deaf.py:graph") as process:
        says(process, "loading")
        process.send_signal(by)
        said, _ = process.communicate(timeout=SOON_S)
    assert (said.strip(), process.returncode) == ("", ENDED[by])


@pytest.mark.parametrize("by", ENDED)
def test_workers_whose_agents_swallow_the_signal_end_with_the_one_that_started_them(
    folder: Path, database_url: str, by: signal.Signals
) -> None:
    (folder / "deaf.py").write_text(CATCHES_ALL + GRAPH)
    command = (UNBROKEN, "serve", "--port", "0", "--workers", "2", "--agent", "a=deaf.py:graph")
    with starting(folder, *command, settings={"DATABASE_URL": database_url}) as process:
        says(process, "loading")
        says(process, "loading")
        process.send_signal(by)
        said, _ = process.communicate(timeout=SOON_S)
    assert "Traceback" not in said, said
    assert process.returncode == ENDED[by]


@pytest.mark.parametrize("by", ENDED)
@pytest.mark.parametrize(("module", "arguments"), [("settings", ()), ("server", ()), ("workers", ("--workers", "2"))])
def test_what_is_swallowed_while_libraries_load_is_heard_before_an_agent_is_loaded(
    folder: Path, by: signal.Signals, module: str, arguments: Sequence[str]
) -> None:
    command = FINDER % (module, CALLED_BACK) + COMMAND
    with starting(
        folder, sys.executable, "-c", command, "serve", "--port", "0", "--agent", "a=none.py:graph", *arguments
    ) as process:
        says(process, "loading")
        process.send_signal(by)
        said, _ = process.communicate(timeout=SOON_S)
    assert (said.strip(), process.returncode) == ("", ENDED[by])


INTERRUPTED = """
import signal, sys
from unbroken.entrypoints.stopping import Stopping

def interrupted_at(line):
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines == line:
            signal.raise_signal(signal.SIGTERM)
        return trace

    with Stopping(3600, alone=False) as stopping:
        stopping.comes_up(lambda: None)
        sys.settrace(trace)
        stopping.begin()
        sys.settrace(None)
    return lines >= line

line = 1
while interrupted_at(line):
    line += 1
print(line)
"""
"""A signal at each line of `begin`, and of whatever it calls."""


def test_a_signal_while_a_stop_begins_by_itself_waits_for_nothing_that_it_interrupts() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=SOON_S)
    assert int(done.stdout) > 2, done.stderr


def test_help_and_chat_do_not_load_the_server() -> None:
    program = (
        "import sys; import unbroken.entrypoints.cli; print({'litestar', 'langgraph', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n"
