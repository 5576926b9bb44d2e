"""One kill: a conversation, a server that dies at a point of it, a second server that takes over, and the verdict."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tests.checker.check import violations
from tests.checker.history import ENDS, Socket, Tables, read_trace
from tests.checker.sources import tables_of_postgres
from tests.crash.instrument import When
from tests.crash.point_play import Ends
from tests.crash.point_scenarios import SCENARIOS
from tests.crash.recorder import writer_to
from tests.crash.verdict import broken_laws
from tests.crash.zygote import Zygote
from tests.end_to_end.client import Client
from tests.end_to_end.tables import read_thread

PATIENCE_S = 100.0
"""Nothing is concluded from how long it took, only that it ended."""
VICTIM = "victim"
SUCCESSOR = "successor"
"""Another replica, which has to wait for the lease of the dead one."""
STALL_S = 2.5
"""Long enough for a takeover with the lease of these tests; nothing is concluded if it was not."""
STORED_ENDS = frozenset({"send_message", "cancel_turn", "report_failure", "skip_event"})
PROVISIONAL = frozenset({"reset", "token", "tool"})


class Kill(Struct, frozen=True):
    """Where it happens. `point` empty: nothing is killed."""

    scenario: str
    point: str = ""
    when: When = "before"
    passing: int = 1
    armed: bool = True
    stalls: bool = False
    """The server stands still there, past its lease, and thaws when another one has taken over."""

    def __str__(self) -> str:
        how = f"{'stalled ' if self.stalls else ''}{self.when} {self.point}"
        return f"{self.scenario}: {how} ({self.passing}{'' if self.armed else ', from the start'})"


class Result(Struct):
    kill: Kill
    thread: str
    died: bool = False
    """False: the scenario did not come by."""
    broken: list[str] = []
    recording: Path | None = None
    to_socket_s: float | None = None
    """From the kill to the client's next connection."""
    to_frame_s: float | None = None
    """From the kill to the first frame of the successor's attempt."""
    to_end_s: float | None = None
    """From the kill to the next durable end."""


class _Line:
    """The servers of one kill, one after another on the same port: one that falls, where the scenario wants it, then
    the one to be killed, then a successor; and as many more as it takes."""

    def __init__(
        self, zygote: Zygote, port: int, database_url: str, kill: Kill, *, record: str, successor: str
    ) -> None:
        self.killed_at: float | None = None
        self.serving = 0
        self.on_stall: Callable[[], None] = lambda: None
        self.thawed = asyncio.Event()
        self._stalled = 0
        self._zygote = zygote
        self._common: dict[str, Any] = {"port": port, "database_url": database_url}
        aim = {"point": kill.point, "when": kill.when, "passing": kill.passing, "armed": kill.armed}
        scenario = SCENARIOS[kill.scenario]
        falls = [msgspec.to_builtins(fall) | {"replica": "first"} for fall in scenario.falls]
        victim = {**aim, "stalls": kill.stalls, "replica": VICTIM, "record": record, "trouble": scenario.trouble}
        self._orders: list[dict[str, Any]] = [*falls, victim]
        self._left = len(self._orders)
        self._successor = successor
        self._succession: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        await self._serve()
        self._succession = asyncio.create_task(self._succeed())

    async def end(self) -> None:
        if self._succession is not None:
            self._succession.cancel()
            await asyncio.gather(self._succession, return_exceptions=True)
        for number in filter(None, (self._stalled, self.serving)):
            self._zygote.kill(number)
            await self._zygote.death(number)

    @property
    def stalled(self) -> bool:
        """Whether a server stands still, or did."""
        return self._stalled > 0

    def stop(self) -> None:
        self._zygote.stop(self.serving)

    async def _serve(self) -> None:
        order = self._orders.pop(0) if self._orders else {"replica": self._successor}
        self.serving = self._zygote.order(**self._common, **order)  # known before it runs: `end` may come in between
        await self._zygote.started(self.serving)

    async def _succeed(self) -> None:
        while True:
            died = await self._zygote.fall(self.serving)
            self._left -= 1
            if died is None:
                await self._outlive_a_stall()
                continue
            if self._left == 0 and died.code < 0:
                self.killed_at = died.at
            await self._serve()

    async def _outlive_a_stall(self) -> None:
        """Nobody would hang up on a server that stands still but a client that has waited long enough."""
        self._stalled = stalled = self.serving
        self.killed_at = self._zygote.stalled_at(stalled)
        self.on_stall()
        await self._serve()
        await asyncio.sleep(STALL_S)
        self._zygote.thaw(stalled)
        self.thawed.set()


async def _drained(client: Client, line: _Line) -> None:
    await client.until(lambda c: any(len(text) > 20 for text in c.view.shown.values()))
    line.stop()


class Lane:
    """A database and a port for one kill after another; several lanes work side by side.

    Another lane's servers never see its sessions: so what a server passes is its own scenario's, and who takes over
    is the successor.
    """

    def __init__(
        self, zygote: Zygote, database_url: str, folder: Path, name: str, port: int, *, successor: str = SUCCESSOR
    ) -> None:
        """`port`: no other lane's. `successor`: the name of the replica that comes after one that was killed."""
        self.results: list[Result] = []
        self._zygote = zygote
        self._database_url = database_url
        self._folder = folder
        self._name = name
        self._port = port
        self._successor = successor

    async def play(self, kill: Kill, *, recorded: bool = False) -> Result:
        """Never raises for what the product did: that is in the result's `broken`, or found by `judge`."""
        thread = f"{self._name}-{len(self.results)}"
        recording = self._folder / f"{thread}.passed" if recorded else None
        result = Result(kill, thread, recording=recording)
        self.results.append(result)
        if (prepare := SCENARIOS[kill.scenario].prepare) is not None:
            await prepare(self._database_url, thread)
        line = _Line(
            self._zygote, self._port, self._database_url, kill, record=str(recording or ""), successor=self._successor
        )
        await line.begin()
        began = time.time()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._converse(result, line)
        except (AssertionError, TimeoutError, LookupError, ValueError) as error:
            result.broken.append(f"{type(error).__name__} after {time.time() - began:.1f} s: {error}")
        result.died = line.killed_at is not None
        if line.killed_at is not None:
            self._time(result, line.killed_at)
        await line.end()
        return result

    async def _converse(self, result: Result, line: _Line) -> None:
        scenario = SCENARIOS[result.kill.scenario]
        with self._trace(result).open("a", encoding="utf-8", buffering=1) as file:
            async with Client(
                f"ws://127.0.0.1:{self._port}",
                thread=result.thread,
                agent=scenario.agent,
                stays=True,
                record=writer_to(file),
            ) as client:
                line.on_stall = client.cut
                stopping = asyncio.create_task(_drained(client, line)) if scenario.drains else None
                try:
                    ends = await scenario.play(client)
                    last = await client.say("words=2 and now?")
                    await client.answered(last)
                    if line.stalled:  # the thawed one gets a moment for what it still believes to be its work
                        await line.thawed.wait()
                        await asyncio.sleep(STALL_S)
                        await self._told_everything(client)
                finally:
                    if stopping is not None:
                        stopping.cancel()
                result.broken += [*wrong_ends(client, {**ends, last: ("final",)}), *client.view.faults]

    async def _told_everything(self, client: Client) -> None:
        """Whoever thaws accepts what it held, and that is answered, too."""
        while True:
            stored = await read_thread(self._database_url, client.thread)
            if stored.applied_seq == len(stored.events) and (client.view.cursor or 0) >= stored.log_index:
                return
            await asyncio.sleep(0.05)

    def _trace(self, result: Result) -> Path:
        return self._folder / f"{result.thread}.jsonl"

    def _time(self, result: Result, died_at: float) -> None:
        sockets = [socket for socket in read_trace(self._trace(result)) if socket.opened_at > died_at]
        result.to_socket_s = sockets[0].opened_at - died_at if sockets else None
        lines = [line for socket in sockets for line in socket.lines]
        frames = [(line.at - died_at, line.frame) for line in lines if line.kind == "frame"]
        result.to_frame_s = next((at for at, frame in frames if frame["type"] in PROVISIONAL), None)
        result.to_end_s = next((at for at, frame in frames if frame["type"] in ENDS and "cursor" in frame), None)

    async def judge(self) -> Iterator[str]:
        """Everything that any of its threads broke, each with its kill."""
        tables = await tables_of_postgres(self._database_url)
        sockets = [socket for result in self.results for socket in read_trace(self._trace(result))]
        answers = [broken async for broken in self._other_answers(tables)]
        return itertools.chain(self._verdict(tables, sockets), answers)

    async def _other_answers(self, tables: Tables) -> AsyncIterator[str]:
        """Where every message got an answer: whether each is what the model says to the conversation before it."""
        strange = {effect.thread_id for effect in tables.effects if effect.type != "send_message"}
        for result in self.results:
            if SCENARIOS[result.kill.scenario].plain and result.thread not in strange:
                stored = await read_thread(self._database_url, result.thread)
                sent = {event.request_id: "" for event in stored.events}
                for broken in broken_laws(stored, sent, {}):
                    yield f"{result.kill}\n  {result.thread}: {broken}"

    def _verdict(self, tables: Tables, sockets: Sequence[Socket]) -> Iterator[str]:
        kills = {result.thread: result.kill for result in self.results}
        for result in self.results:
            yield from (f"{result.kill}\n  {result.thread}: {broken}" for broken in result.broken)
        for fault in violations(sockets, tables, watched_to_the_end=list(kills)):
            yield f"{kills.get(fault.thread_id)}\n  {fault}"
        for thread, broken in doubled_or_lost(tables):
            yield f"{kills.get(thread)}\n  {thread}: {broken}"


def wrong_ends(client: Client, expected: Ends) -> Iterator[str]:
    for request, allowed in expected.items():
        end: dict[str, Any] = client.view.ends.get(request, {"type": "none"})
        if end.get("code", end["type"]) not in allowed:
            yield f"{request} ended as {end}, not in {allowed}"


def doubled_or_lost(tables: Tables) -> Iterator[tuple[str, str]]:
    """The tables alone, in few words: every event applied, one end each, nothing twice in the log."""
    events = Counter(event.thread_id for event in tables.events)
    for session in tables.sessions:
        if not session.deleted and session.applied_seq != events[session.thread_id]:
            yield session.thread_id, f"{session.applied_seq} of {events[session.thread_id]} events are applied"
    ends: Counter[tuple[str, int]] = Counter()
    for effect in tables.effects:
        if effect.type in STORED_ENDS:
            ends[effect.thread_id, effect.event_seq] += 1
    for event in tables.events:
        if ends[event.thread_id, event.seq] != 1:
            yield event.thread_id, f"event {event.seq} has {ends[event.thread_id, event.seq]} ends"
