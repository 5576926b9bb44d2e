"""One process of the service: boots, joins, serves, is killed, stalls, or is stopped, and boots again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from dependency_injector import providers
from litestar import WebSocket

from tests.simulation.agent import PlannedAgents
from tests.simulation.lease import SimulatedLease
from tests.simulation.loop import Actor, SimulatedClock
from tests.simulation.network import Line
from tests.simulation.states import WatchedControls, WatchedEventStore, WatchedSessions, WatchedUnitOfWork
from unbroken.adapters.langgraph.thread_states import GraphStates
from unbroken.domain.errors import Unavailable
from unbroken.domain.events import WhenBusy
from unbroken.domain.ports.identity import User
from unbroken.entrypoints.container import Container
from unbroken.entrypoints.service import serving
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.web.chat_sockets import ChatSockets
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.open_connections import OpenConnections
from unbroken.entrypoints.web.user_limits import UserLimits

if TYPE_CHECKING:
    from tests.simulation.world import World

QUEUE_LIMIT: Final = 3
LEASE_S: Final = 1.0
SETTINGS: Final = Settings(
    max_tries=4,
    retry_backoff_s=0.1,
    retry_max_backoff_s=0.4,
    turn_limit_s=2.5,
    concurrent_turns=4,
    queue_limit=QUEUE_LIMIT,
    lease_ttl_s=LEASE_S,
    heartbeat_s=0.4,
    recovery_poll_s=0.8,
    effect_poll_s=1.0,
    effect_claim_s=1.5,
    cancel_poll_s=0.25,
    timer_poll_s=0.9,
    ack_flush_s=0.8,
    drain_s=0.3,
    stop_limit_s=3.0,
    reader_stall_s=2.0,
    frames_per_s=200,
)
LIVE: Final = ('{"type":"token"', '{"type":"tool"', '{"type":"reset"')
_container: Final = Container()
"""One for all: making it costs as much as a whole seed."""
_given: Final[dict[str, providers.Object[Any]]] = {}
"""What stands in the places of its stores, clock and so on."""
_singletons: Final[list[providers.BaseSingleton[Any]]] = []
USED: Final = (
    *("accept", "cancel", "subscribe", "acknowledge", "sessions", "outbox", "queue", "delete_thread", "threads"),
    *("files", "readiness", "wakeups", "recover", "effect_runner", "fire_timers", "expire_silent", "live"),
    *("expire_temporary", "audit", "checkpoints", "overhear", "lease", "peers", "own_clock"),
    *("show_afar", "follow_afar", "thread_records", "assistants", "states", "runs", "committed_state"),
)
"""What a replica takes out of its container."""


class Replica:
    def __init__(self, world: World, name: str, *, skew_s: float, when_busy: WhenBusy) -> None:
        self.name = name
        self.actor = Actor(f"{name}#0", skew_s=skew_s)
        self.actor.dead = True
        self.up = False
        """Takes sockets."""
        self.service: Any = None
        self.lines: list[Line] = []
        self._world = world
        self._settings = SETTINGS.model_copy(update={"when_busy": when_busy})
        self._skew_s = skew_s
        self._boots = 0
        self._stop: asyncio.Event | None = None
        self._connections: OpenConnections | None = None
        self._sockets: ChatSockets | None = None
        self._live_sessions: Any = None
        self._lease: SimulatedLease | None = None
        self._afar: Any = None
        """Its sides of what is shown to other replicas, and of what is followed there."""

    def boot(self) -> None:
        if not self.actor.dead:
            return
        self._boots += 1
        self.actor = Actor(f"{self.name}#{self._boots}", skew_s=self._skew_s)
        self._world.loop.spawn(self.actor, self._live(self.actor))

    def kill(self) -> None:
        """SIGKILL: the system closes its sockets."""
        self._world.loop.kill(self.actor)
        self._gone()
        self._world.turns.bury()
        for line in self.lines:
            self._world.loop.later(0.001, line.cut)
        self.lines = []

    def stop(self) -> None:
        """SIGTERM."""
        if self._stop is not None:
            self._stop.set()

    def held(self) -> dict[str, int]:
        """How much of what it keeps in memory for those who are here, by kind."""
        sockets = len(self._connections) if self._connections else 0
        sessions = len(self._live_sessions()) if self._live_sessions else 0
        afar = {"followers": len(self._afar[0]), "followed": len(self._afar[1])} if self._afar else {}
        return {"sockets": sockets, "tasks": len(self.service.queue), "sessions": sessions, **afar}

    def skew(self, skew_s: float) -> None:
        self._skew_s = self.actor.skew_s = skew_s

    def take(self, line: Line, user_id: str) -> None:
        self.lines = [known for known in self.lines if not known.closed]
        self.lines.append(line)
        line.on_send = self._watch
        self._world.loop.spawn(self.actor, self._serve(line, user_id))

    async def _live(self, me: Actor) -> None:
        world = self._world
        store = world.store
        joined, asked = None, 0.0
        while joined is None:
            asked = world.loop.time()
            try:
                joined = await store.replicas.join(self.name, lease_ttl_s=LEASE_S)
            except Unavailable:
                await asyncio.sleep(0.2)
        agents = PlannedAgents(world.new_agent())
        lease = self._lease = SimulatedLease(world.loop, asked + LEASE_S)
        container = _wired(world, joined.id, self._settings, agents, lease)
        self._live_sessions = container.live
        self._afar = (container.show_afar(), container.follow_afar())
        stop = self._stop = asyncio.Event()
        try:
            async with serving(self._settings, container, agents) as service:
                self.service = service
                connections = self._connections = OpenConnections(service)
                limits = UserLimits(sockets=None, messages_per_min=None, threads=None)
                self._sockets = ChatSockets(service, limits, connections)
                watch = asyncio.create_task(connections.close_stalled_forever())
                beat = asyncio.create_task(self._beat(joined.id, lease, stop))
                self.up = True
                await stop.wait()
                world.loop.later(self._settings.stop_limit_s, self._exit_hard, me)
                draining = asyncio.create_task(service.drain(self._settings.drain_s))
                await asyncio.sleep(0)
                connections.send_away()
                await draining
                watch.cancel()
                beat.cancel()
            await store.replicas.leave(joined.id)
        except Unavailable:
            pass  # an exit code; whoever watches processes starts the next one
        world.ended(self, me)

    def _exit_hard(self, me: Actor) -> None:
        """It should have been over by now."""
        if self.actor is me and not me.dead:
            self._world.late_stops.append((self.name, self._world.loop.time()))
            self._world.ended(self, me)

    def ended(self) -> None:
        """The process has exited by itself."""
        self._world.loop.kill(self.actor)
        self._gone()
        for line in self.lines:
            line.cut()
        self.lines = []

    async def _beat(self, replica: int, lease: SimulatedLease, stop: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            sent = self._world.loop.time()
            try:
                if await self._world.store.replicas.renew(replica, lease_ttl_s=LEASE_S):
                    lease.renewed(sent + LEASE_S)
                else:
                    stop.set()
            except Unavailable:
                continue

    async def _serve(self, line: Line, user_id: str) -> None:
        assert self._sockets is not None
        try:
            await self._sockets.converse(cast("WebSocket[Any, Any, Any]", line.server), User(user_id))
            line.close(1000)
        except Closed as end:
            line.close(int(end.code))

    def _watch(self, text: str) -> None:
        """Of an attempt of its own it shows nothing any more once its lease is over."""
        assert self._lease is not None
        if self._lease.held() or not text.startswith(LIVE):
            return
        for key in self._live_sessions().here():
            live = self._live_sessions().get(key)
            attempt = live.attempt if live is not None and live.runs_here else None
            if attempt is None or f'"requestId":"{attempt.event.request_id}"' not in text:
                continue
            if f'"attempt":{attempt.run},' in f"{text[:-1]},":
                self._world.late_words.append((self.name, text))

    def _gone(self) -> None:
        self.up = False
        self.service = None
        self._stop = None


def _wired(world: World, replica: int, settings: Settings, agents: PlannedAgents, lease: SimulatedLease) -> Container:
    """The product's own composition, over the world's stores, clock, hints, messages and ids."""
    store, turns, member = world.store, world.turns, world.bus.join(replica)
    given = {
        "settings": settings,
        "replica_id": replica,
        "event_store": WatchedEventStore(store.event_store, turns),
        "sessions": WatchedSessions(store.sessions, turns),
        "controls": WatchedControls(store.controls, turns),
        "unit_of_work": WatchedUnitOfWork(store.unit_of_work, turns),
        "outbox": store.outbox,
        "timers": store.timers,
        "health": store.health,
        "threads": store.threads,
        "thread_records": store.thread_records,
        "assistants": store.assistants,
        "states": GraphStates(agents, store.checkpoints),
        "runs": store.runs,
        "files": store.files,
        "user_data": store.user_data,
        "checkpoints": store.checkpoints,
        "audit": store.audit,
        "agents": agents,
        "clock": SimulatedClock(world.loop),
        "wakeups": member,
        "peers": member,
        "lease": lease,
        "ids": world.new_id,
    }
    if not _given:
        for name in given:
            _given[name] = providers.Object()
            getattr(_container, name).override(_given[name])
        _container.check_dependencies()
        _singletons.extend(_container.traverse(types=[providers.BaseSingleton]))
    for name, value in given.items():
        _given[name].set_provides(value)
    for singleton in _singletons:
        singleton.reset()
    # Everything is made here and now: the next replica wires the same container anew.
    made = {name: getattr(_container, name)() for name in USED}
    return cast("Container", SimpleNamespace(check_dependencies=lambda: None, **{n: _giver(made[n]) for n in made}))


def _giver(thing: Any) -> Any:
    return lambda: thing
