"""Replicas over one store, everything real but the agent, the time, and the trouble on the way to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count

from tests.application.faulty_store import Trouble
from tests.application.scripted_agent import OneAgent, ScriptedAgent, heard_by
from tests.application.virtual_time import VirtualClock
from unbroken.adapters.in_process.hub import Hub
from unbroken.adapters.memory.store import MemoryStore
from unbroken.application.accept_event import AcceptEvent
from unbroken.application.acknowledge import Acknowledge
from unbroken.application.cancel import Cancel
from unbroken.application.effect_runner import EffectRunner
from unbroken.application.event_queue import EventQueue
from unbroken.application.fire_timers import FireTimers
from unbroken.application.follow_afar import FollowAfar
from unbroken.application.live_sessions import LiveSessions
from unbroken.application.overhear import Overhear
from unbroken.application.own_clock import OwnClock
from unbroken.application.peer_messages import deliver
from unbroken.application.recover import Recover
from unbroken.application.session_processor import SessionProcessor
from unbroken.application.show_afar import ShowAfar
from unbroken.application.subscribe import Subscribe
from unbroken.application.turn_end import TurnEnd
from unbroken.domain.effects import CancelTurn, LogEntry, ReportFailure, SendMessage
from unbroken.domain.errors import Unavailable
from unbroken.domain.events import UserMessage, WhenBusy
from unbroken.domain.policy import RetryPolicy
from unbroken.domain.ports.event_store import Receipt
from unbroken.domain.ports.lease import Lease
from unbroken.domain.session import SessionKey, SessionView

KEY = SessionKey("ann", "demo", "t1")
RETRY = RetryPolicy(max_tries=3, backoff_s=0.5, max_backoff_s=4.0)
LEASE_S = 10.0
ENDS = SendMessage | CancelTurn | ReportFailure


class World:
    def __init__(self, seed: int | None = None) -> None:
        self.clock = VirtualClock()
        self.trouble = Trouble(seed)
        self.store = MemoryStore(self.clock, commit_gate=self.trouble)
        self.hub = Hub(carry=lambda deliver: None)
        """Between its replicas: nothing arrives, unless a test says otherwise."""
        self._ids = count(1)

    def new_id(self) -> str:
        return f"id-{next(self._ids):06}"

    async def replica(self, name: str = "a", *, slots: int = 8, turn_limit_s: float = 60.0) -> Node:
        joined = await self.store.replicas.join(name, lease_ttl_s=LEASE_S)
        return Node(self, joined.id, slots=slots, turn_limit_s=turn_limit_s)

    async def view(self, key: SessionKey = KEY) -> SessionView | None:
        with self.trouble.observing():
            return await self.store.sessions.view(key.thread_id)

    async def log(self, key: SessionKey = KEY) -> list[LogEntry]:
        with self.trouble.observing():
            return list(await self.store.outbox.read(key.thread_id, after=0, limit=10_000))

    async def heard(self, key: SessionKey = KEY) -> list[str]:
        with self.trouble.observing():
            return await heard_by(self.store.checkpoints, key.thread_id)

    async def ends(self, key: SessionKey = KEY) -> list[str]:
        """How each event ended, in the order of the log: its text, or its failure's code."""
        return [_told(entry) for entry in await self.log(key) if isinstance(entry.body, ENDS)]

    async def check(self, key: SessionKey = KEY) -> None:
        """Everything accepted has one visible end, in order, and the agent's state holds each answer once, as it does
        what was shown of a turn that ended otherwise and had its history made whole. What ended unsaid may be there."""
        view = await self.view(key)
        assert view is not None
        assert view.pending == (), f"never ended: {view.pending}"
        entries = await self.log(key)
        assert [entry.log_index for entry in entries] == list(range(1, len(entries) + 1))
        ended = [entry for entry in entries if isinstance(entry.body, ENDS)]
        session = self.store.database.sessions[key.thread_id]
        unseen = {effect.event_seq for effect in session.effects.values() if effect.type == "skip_event"}
        assert [entry.event.seq for entry in ended] == [n for n in range(1, view.applied_seq + 1) if n not in unseen]
        answered = [entry.event.id for entry in ended if isinstance(entry.body, SendMessage)]
        mended = {entry.event.id for entry in ended} - set(answered) | {session.event(seq).id for seq in unseen}
        heard = await self.heard(key)
        assert len(heard) == len(set(heard))
        assert [event_id for event_id in heard if event_id not in mended] == answered


def _told(entry: LogEntry) -> str:
    match entry.body:
        case SendMessage(text=text):
            return text
        case CancelTurn(text=text):
            return f"cancelled: {text}"
        case ReportFailure(code=code):
            return code
        case _:
            return ""


class LeaseInHand(Lease):
    """Held unless a test says otherwise."""

    def __init__(self) -> None:
        self._held = True
        self._listeners: list[Callable[[], None]] = []

    def held(self) -> bool:
        return self._held

    def listen(self, on_regained: Callable[[], None]) -> None:
        self._listeners.append(on_regained)

    def lapse(self) -> None:
        self._held = False

    def regain(self) -> None:
        self._held = True
        for on_regained in self._listeners:
            on_regained()


class Node:
    """One replica, as the container wires it."""

    def __init__(self, world: World, replica: int, *, slots: int, turn_limit_s: float) -> None:
        store, clock = world.store, world.clock
        self.world = world
        self.id = replica
        self.agent = ScriptedAgent(store.checkpoints)
        self.agents = agents = OneAgent(self.agent)
        self.wakeups = world.hub.join(replica)
        self.lease = LeaseInHand()
        self.live = LiveSessions(store.sessions, self.lease)
        self.effects = EffectRunner(
            outbox=store.outbox,
            timers=store.timers,
            clock=clock,
            replica=replica,
            retry=RETRY,
            interval_s=1.0,
            claim_s=30.0,
        )
        self.processor = SessionProcessor(
            agents=agents,
            sessions=store.sessions,
            unit_of_work=store.unit_of_work,
            live=self.live,
            end=TurnEnd(
                agents=agents,
                sessions=store.sessions,
                unit_of_work=store.unit_of_work,
                live=self.live,
                clock=clock,
                wakeups=self.wakeups,
                new_id=world.new_id,
                on_effects=self.effects.wake,
            ),
            clock=clock,
            retry=RETRY,
            turn_limit_s=turn_limit_s,
        )
        self.queue = EventQueue(
            processor=self.processor,
            sessions=store.sessions,
            live=self.live,
            wakeups=self.wakeups,
            clock=clock,
            replica=replica,
            concurrent_turns=slots,
        )
        self.accept = AcceptEvent(
            files=store.files,
            event_store=store.event_store,
            agents=agents,
            queue=self.queue,
            live=self.live,
            wakeups=self.wakeups,
            clock=clock,
            new_id=world.new_id,
            replica=replica,
            queue_limit=20,
            when_busy=lambda agent_id: WhenBusy.ENQUEUE,
        )
        self.cancel = Cancel(
            controls=store.controls,
            queue=self.queue,
            processor=self.processor,
            wakeups=self.wakeups,
            clock=clock,
            replica=replica,
            interval_s=0.25,
        )
        self.overhear = Overhear(queue=self.queue, live=self.live, cancel=self.cancel, clock=clock, replica=replica)
        self.wakeups.listen(self.queue.hint, self.overhear.overheard)
        self.show_afar = ShowAfar(self.live, self.wakeups, replica)
        self.follow_afar = FollowAfar(self.live, self.wakeups, replica, self.overhear.overheard)
        self.wakeups.receive(partial(deliver, self.show_afar.wanted, self.follow_afar.fed))
        self.own_clock = OwnClock(
            sessions=store.sessions,
            queue=self.queue,
            processor=self.processor,
            live=self.live,
            clock=clock,
            replica=replica,
        )
        self.lease.listen(self.own_clock.regained)
        self.subscribe = Subscribe(self.live, store.outbox)
        self.acknowledge = Acknowledge(outbox=store.outbox, live=self.live, clock=clock, interval_s=1.0)
        self.recover = Recover(sessions=store.sessions, queue=self.queue, clock=clock, replica=replica, interval_s=1.0)
        self.timers = FireTimers(timers=store.timers, accept=self.accept, clock=clock, interval_s=1.0)
        self._loops: list[asyncio.Task[None]] = []

    def poll(self) -> None:
        """Start the loops of a serving replica, its heartbeat included."""
        loops = (self.recover, self.effects, self.timers, self.acknowledge, self.cancel, self.own_clock)
        self._loops = [asyncio.create_task(loop.forever()) for loop in loops]
        self._loops.append(asyncio.create_task(self.recover.catch_up_forever()))
        self._loops.append(asyncio.create_task(self._heartbeat()))

    async def say(self, text: str, key: SessionKey = KEY, request_id: str = "") -> Receipt:
        return await self.accept(key, request_id or f"request-{text}", UserMessage(text))

    async def ended(self, key: SessionKey = KEY) -> None:
        """Until everything that was accepted has its end, by itself; at most ten minutes."""

        async def done() -> bool:
            view = await self.world.view(key)
            return view is not None and not view.pending and not len(self.queue)

        await until(done)

    async def stop(self, grace_s: float = 0.0) -> None:
        """What a deploy does; with no grace, whatever runs is cut off."""
        await self._end(grace_s)
        self.wakeups.leave()
        await self.world.store.replicas.leave(self.id)

    async def crash(self) -> None:
        """What a `kill -9` does: nobody is told, nothing is given back; its lease has run out when this returns."""
        self._gives_nothing_back()
        await self.stop()

    async def dies(self) -> None:
        """`kill -9`, as far as others can tell: its lease ends by itself, and nothing more is heard of it."""
        self._gives_nothing_back()
        self.wakeups.leave()
        self.lease.lapse()
        await self._end(0.0)

    def _gives_nothing_back(self) -> None:
        async def nothing(thread_id: str) -> None:
            pass

        self.queue._give_back = nothing  # type: ignore[method-assign]

    async def _end(self, grace_s: float) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.queue.close(grace_s)
        await self.overhear.close()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            with suppress(Unavailable):
                await self.world.store.replicas.renew(self.id, lease_ttl_s=LEASE_S)


async def until(condition: Callable[[], bool | Awaitable[bool]], *, limit_s: float = 600.0) -> None:
    """Let virtual time pass until `condition()` (or what it promises) is true."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(limit_s):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01 if loop.time() - began < 10 else 5)


def remembered(thing: object) -> int:
    """How many entries an object's own collections hold: what must not grow with the sessions that came and went."""
    return sum(len(held) for held in vars(thing).values() if isinstance(held, dict | set))
