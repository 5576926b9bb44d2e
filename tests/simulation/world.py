"""One seed from its beginning to the verdict."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tests.checker.check import violations_of
from tests.checker.history import Call, History, Socket, Tables, Violation, sockets_of
from tests.checker.sources import tables_of_memory
from tests.simulation.agent import PlannedAgent, memory_of
from tests.simulation.caller import Caller, Follower
from tests.simulation.client import Device, Manner
from tests.simulation.complaints import complaints
from tests.simulation.database import SimulatedDatabase
from tests.simulation.hints import Bus
from tests.simulation.loop import Actor, SimulatedClock, SimulatedLoop, Stuck
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import ClientEnd, Line
from tests.simulation.overheard import Overheard
from tests.simulation.plans import Plans
from tests.simulation.replica import QUEUE_LIMIT, SETTINGS, Replica
from tests.simulation.settled import left_over, unsettled
from tests.simulation.states import Doing, Turns
from tests.simulation.users import User
from unbroken.adapters.memory.encoding import decode_checkpoint
from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.memory.tables import AgentState
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.events import WhenBusy
from unbroken.domain.ports.agent import Agent
from unbroken.domain.session import Claim

SETTLED_S: Final = 30.0
"""After the last fault, everything has its end within so long."""
ACTIVE_S: Final = (0.6, 1.0, 2.0, 3.0)
OTHERS: Final[tuple[tuple[Manner, ...], ...]] = ((), (), ("cursor",), ("tail",), ("old",))
"""How the other devices of a user follow."""
DRAWN: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")
FORGOTTEN_S: Final = 6.0
"""After everybody has left, nothing is held any more within so long: longer than silence takes to be noticed, and then
a follower at another replica to be forgotten."""
FEWEST_FAULTS: Final = 3
WIDE: Final = 0.4
"""Of the worlds know agents that work on several parts at once, and callers who start runs; in all others everything
is as it was before there were such."""


class Working(Struct):
    """A call of the model, and how it ended as far as it is known by now."""

    claim: Claim
    at: float
    doing: Doing
    end: str = "lost"
    until: float = 0.0
    heard: Overheard | None = None
    answer: str | None = None


class Outcome(Struct):
    seed: int
    violations: list[Violation]
    struck: Counter[tuple[str, str]]
    steps: int
    events: int
    attempts: int
    seconds: float
    """Of virtual time."""
    history: History

    @property
    def digest(self) -> str:
        """Of everything that was seen and stored: the same seed gives the same."""
        tables = replace(self.history.tables, model_messages={})
        seen = (self.history.sockets, tables, self.history.calls, self.history.faults, self.steps)
        return hashlib.sha256(_by_place(msgspec.json.encode(seen))).hexdigest()[:16]


class World:
    def __init__(self, seed: int, *, real: bool = False) -> None:
        """`real`: LangGraph itself works, over the product's own adapter."""
        self.seed = seed
        self.random = Random(seed)
        self.loop = SimulatedLoop(self._fork())
        self.database_actor = Actor("database")
        self.database = SimulatedDatabase(self.loop, self._fork())
        clock = SimulatedClock(self.loop, self.database_actor)
        self.store = MemoryStore(clock, keep_branches=self.random.choice((2, 20)), database=self.database)
        self.turns = Turns(self.database.sessions.get, self._changed)
        self.bus = Bus(self.loop, self._fork(), crosses=self.random.random() < 0.7)
        shapes = Random(f"wide {seed}")
        wide = shapes.random() < WIDE
        self.plans = Plans(self._fork(), shapes if wide else None)
        self.contents: dict[str, str] = {}
        """What was said, by request id."""
        self.active_s = self.random.choice(ACTIVE_S)
        self._ids = count(1)
        self._serials = count(1)
        self.late_stops: list[tuple[str, float]] = []
        """Replicas that had to be ended hard, and when."""
        self.late_words: list[tuple[str, str]] = []
        """Replicas that showed something of their own attempts when their lease was over, and what."""
        self.wrong_parts: list[str] = []
        """What an agent found of parts that work side by side, other than it had sent."""
        self._kept: list[asyncio.Future[Any]] = []
        self._works: list[Working] = []
        self._people(self._fork())
        self._callers(shapes, wide=wide and not real)
        self._real = real
        self._supersteps = self.random.random() < 0.6
        when_busy = self.random.choice((WhenBusy.ENQUEUE, WhenBusy.ENQUEUE, *WhenBusy))
        self.replicas = [
            Replica(self, f"r{number}", skew_s=self.random.choice((0.0, 0.0, -3600.0, 3600.0)), when_busy=when_busy)
            for number in range(1, self.random.choice((1, 2, 2, 3)) + 1)
        ]
        self.nemesis = Nemesis(self, self._fork(), self.random.choice((4, 5, 6, 8)))
        self.loop.on_fuse = self._burnt
        if self.random.random() < 0.3:
            self.database.mishap_rate = self.random.choice((0.005, 0.02, 0.05))

    def run(self) -> Outcome:
        with complaints.heard() as errors:
            return self._lived(errors)

    def new_id(self) -> str:
        return f"id-{next(self._ids):06}"

    def serial(self) -> int:
        return next(self._serials)

    def keep(self, task: asyncio.Future[Any]) -> None:
        """A task that nobody waits for must not be collected."""
        self._kept.append(task)

    async def connect(self, device: Device, query: str) -> ClientEnd | None:
        """A new line to a replica that takes sockets; None: refused."""
        await asyncio.sleep(0.001 + 0.01 * self.random.random())
        up = [replica for replica in self.replicas if replica.up]
        homes = [replica for replica in up if replica.name == device.home]
        if not up:
            return None
        replica = self.random.choice(homes or up)
        line = Line(self.loop, self._line_random, replica.actor, query)
        replica.take(line, device.user_id)
        return line.client

    @contextmanager
    def calling(self, claim: Claim) -> Iterator[Working]:
        """The agent works on an attempt."""
        with self.turns.doing(claim.key.thread_id, "thinking") as doing:
            working = Working(claim, self.loop.time(), doing)
            self._works.append(working)
            try:
                yield working
            except asyncio.CancelledError:
                working.end = "cancelled"
                raise
            finally:
                working.until = self.loop.time()

    def speaks(self, event_id: str) -> None:
        """The agent that works on it has said a word."""
        if working := self._working_on(event_id):
            self.turns.speaks(working.doing)

    def in_trouble(self, event_id: str, trouble: str) -> None:
        if working := self._working_on(event_id):
            self.nemesis.model(trouble, working.claim.key.thread_id)

    def _working_on(self, event_id: str) -> Working | None:
        return next((working for working in reversed(self._works) if working.claim.event.id == event_id), None)

    def ended(self, replica: Replica, process: Actor) -> None:
        """A process has exited by itself; whoever watches over it starts the next one."""
        if replica.actor is process:
            self.loop.later(0.0, replica.ended)
            self.loop.later(0.05 + self.random.random(), replica.boot)

    def _fork(self) -> Random:
        """A stream of its own for each part, so that one more draw here does not change everything there."""
        return Random(self.random.getrandbits(64))

    def new_agent(self) -> Agent:
        """For a process that boots."""
        if self._real:
            from tests.simulation.real_agent import RealAgent

            return RealAgent(self, supersteps=self._supersteps)
        return PlannedAgent(self, self.store.checkpoints, supersteps=self._supersteps)

    def tries(self, event_id: str) -> int:
        """How often a model was asked about an event."""
        return sum(working.claim.event.id == event_id for working in self._works)

    def _people(self, random: Random) -> None:
        self._line_random = self._fork()
        self.threads = [f"t{number}" for number in range(1, random.choice((1, 1, 2)) + 1)]
        self.devices: list[Device] = []
        self.users: list[User] = []
        for thread_id in self.threads:
            manners: list[Manner] = ["cursor", *random.choice(OTHERS)]
            devices = [
                Device(self, f"{thread_id}-{number}", f"ann-{thread_id}", thread_id, manner=manner, random=self._fork())
                for number, manner in enumerate(manners, 1)
            ]
            self.devices += devices
            self.users.append(User(self, thread_id, devices, self._fork()))
        if random.random() < 0.2:
            # Somebody who knows a thread's id; whoever speaks first there owns it.
            eve = Device(self, "eve", "eve", self.threads[0], manner="cursor", random=self._fork())
            self.devices.append(eve)
            if random.random() < 0.5:
                self.users.append(User(self, self.threads[0], [eve], self._fork(), name="eve-", messages=1))

    def _callers(self, shapes: Random, *, wide: bool) -> None:
        threads = self.threads if wide else []
        self.callers = [Caller(self, thread_id, Random(shapes.getrandbits(64))) for thread_id in threads]
        self.followers = [Follower(self, thread_id, Random(shapes.getrandbits(64))) for thread_id in threads]

    def held_at(self, state: AgentState, checkpoint_id: str) -> list[str]:
        """Ids of the messages at a checkpoint."""
        row = decode_checkpoint(state.checkpoints[ROOT, checkpoint_id])
        return [message.id for message in memory_of(row.checkpoint).messages]

    def _changed(self, thread_id: str) -> None:
        self.nemesis.changed(thread_id)

    def _burnt(self, process: Actor) -> None:
        for replica in self.replicas:
            if replica.actor is process and not process.dead and self.nemesis.burnt(process):
                replica.kill()
                self.loop.later(0.05 + 1.5 * self.random.random(), replica.boot)

    def _lived(self, errors: list[str]) -> Outcome:
        violations: list[Violation] = []
        try:
            self.loop.run(self._life(violations))
        except Stuck as stuck:
            violations.append(Violation("I13", self.threads[0], f"the world stands still: {stuck}"))
        history = self._history(settled=not violations)
        violations += violations_of(history)
        violations += self._stops()
        violations += [
            Violation("I5", self.threads[0], f"{name} after its lease: {text}") for name, text in self.late_words
        ]
        violations += [
            Violation("I6", follower.thread_id, f"who goes on by place: {what}")
            for follower in self.followers
            for what in follower.wrong[:3]
        ]
        violations += [Violation("I4", self.threads[0], what) for what in self.wrong_parts]
        for what in (*errors, *map(_told, self.loop.untaken)):
            violations.append(Violation("no defect", self.threads[0], what))
        return Outcome(
            self.seed,
            violations,
            self.nemesis.struck,
            self.loop.steps,
            len(history.tables.events),
            len(self._works),
            self.loop.time(),
            history,
        )

    async def _life(self, violations: list[Violation]) -> None:
        loop = self.loop
        self._begin()
        self.nemesis.begin()
        await asyncio.sleep(self.active_s)
        while self.nemesis.struck.total() < FEWEST_FAULTS:
            self.nemesis.strike_once_more()
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
        self.nemesis.heal()
        deadline = loop.time() + SETTLED_S
        while (waiting := unsettled(self)) and loop.time() < deadline:  # noqa: ASYNC110 - somebody outside looks
            await asyncio.sleep(0.2)
        if waiting:
            violations.append(Violation("I13", self.threads[0], f"not settled after {SETTLED_S:g} s: {waiting}"))
            return
        for device in self.devices:
            device.leave()
        for follower in self.followers:
            follower.leaving = True
        deadline = loop.time() + FORGOTTEN_S
        while (left := left_over(self)) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        violations += left

    def _begin(self) -> None:
        for replica in self.replicas:
            replica.boot()
        for device in self.devices:
            self.loop.spawn(Actor(device.name), device.forever())
        for user in self.users:
            self.loop.spawn(Actor(f"user-{user.thread_id}"), user.live())
        for caller in self.callers:
            self.loop.spawn(Actor(f"caller-{caller.thread_id}"), caller.live())
        for follower in self.followers:
            self.loop.spawn(Actor(f"follower-{follower.thread_id}"), follower.forever())

    def _stops(self) -> list[Violation]:
        """A process that was told to stop stops by itself, unless something else happens to it."""
        limit_s = SETTINGS.stop_limit_s
        costly = [fault for fault in self.nemesis.faults if fault.costs_attempts and fault.kind != "restart"]
        return [
            Violation("I13", self.threads[0], f"{name} did not stop within {limit_s:g} s")
            for name, at in self.late_stops
            if not any(fault.at < at and fault.until > at - limit_s for fault in costly)
        ]

    def _history(self, *, settled: bool) -> History:
        sockets: list[Socket] = [socket for device in self.devices for socket in sockets_of(device.name, device.told)]
        tables = tables_of_memory(self.store)
        self._remember(tables)
        for caller in self.callers:
            tables.branches.update(caller.branches)
        return History(
            sockets=sockets,
            tables=tables,
            calls=[_called(working) for working in self._works],
            faults=self.nemesis.faults,
            settled=settled,
            watched_to_the_end=frozenset(
                device.name for device in self.devices if device.turned_away is None and device.cursor is not None
            ),
            queue_limit=QUEUE_LIMIT,
            replicas=len(self.replicas),
            otherwise={request: body for caller in self.callers for request, body in caller.asked.items()},
            confirmed={request: seq for caller in self.callers for request, seq in caller.accepted.items()},
        )

    def _remember(self, tables: Tables) -> None:
        """What the agent's state holds of each conversation."""
        for thread_id in self.database.sessions:
            state = self.database.agent_states.get(thread_id) or AgentState()
            if self._real:
                from tests.simulation.real_agent import messages_of

                tables.model_messages[thread_id] = messages_of(state)
                tables.state_messages[thread_id] = [str(message.id) for message in tables.model_messages[thread_id]]
            else:
                tables.state_messages[thread_id] = _known(state)


def simulate(seed: int, *, real: bool = False) -> Outcome:
    """Everything that follows from a seed, and whether it kept every promise.

    For a process that does nothing else and ends soon: what the dead leave behind, half a megabyte, is not collected,
    and their coroutines' complaints are not heard.
    """
    gc.disable()
    sys.unraisablehook = lambda _: None
    # The tasks of earlier worlds that nobody has collected yet have the same numbers, and so the same hashes.
    asyncio.tasks._all_tasks.clear()  # type: ignore[attr-defined]
    return World(seed, real=real).run()


def _known(state: AgentState) -> list[str]:
    head = state.heads.get(ROOT)
    if head is None or not head.checkpoint_id:
        return []
    row = decode_checkpoint(state.checkpoints[ROOT, head.checkpoint_id])
    return [message.id for message in memory_of(row.checkpoint).messages]


def _called(working: Working) -> Call:
    claim = working.claim
    end: Any = working.end
    call = Call(claim.key.thread_id, claim.event.id, claim.run, working.at, end, working.until)
    heard = working.heard
    if heard is None:
        return call
    return replace(call, wrote=heard.said(), answer=working.answer, pace=tuple(heard.pace))


def _by_place(seen: bytes) -> bytes:
    """Ids that LangChain draws are told by the place at which they come first."""
    places: dict[bytes, bytes] = {}
    return DRAWN.sub(lambda found: places.setdefault(found[0], b"id-%d" % len(places)), seen)


def _told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"nobody took: {context.get('message')}: {error!r}"
