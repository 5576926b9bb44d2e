"""One replica's life: open the store, join, take up what is unfinished, serve, hand back, leave.

Everything a transport needs is an attribute; the transports themselves know nothing of the container.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from langgraph.store.base import BaseStore
from langgraph_sdk import Auth

from unbroken.adapters.carried_hints import Company, until_ended
from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.in_process.lease import AlwaysHeld
from unbroken.adapters.langgraph.committed_values import CommittedValues
from unbroken.adapters.langgraph.loading import NamedGraph, load_agents
from unbroken.adapters.langgraph.long_term_store import LongTermStore, ttl_of
from unbroken.adapters.langgraph.project import Project
from unbroken.adapters.langgraph.thread_states import GraphStates
from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.postgres.heartbeat import Heartbeat, moment
from unbroken.adapters.postgres.store import PostgresStore, open_postgres
from unbroken.application.accept_event import AcceptEvent
from unbroken.application.acknowledge import Acknowledge
from unbroken.application.cancel import Cancel
from unbroken.application.delete_thread import DeleteThread
from unbroken.application.event_queue import EventQueue
from unbroken.application.peer_messages import deliver
from unbroken.application.readiness import Readiness
from unbroken.application.subscribe import Subscribe
from unbroken.application.sweep_items import SweepItems
from unbroken.domain.errors import Unavailable
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.assistants import Assistants
from unbroken.domain.ports.audit import Audit
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.committed_state import CommittedState
from unbroken.domain.ports.files import Files
from unbroken.domain.ports.lease import Lease
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.replicas import Replica, Replicas
from unbroken.domain.ports.runs import Runs
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.thread_records import ThreadRecords
from unbroken.domain.ports.thread_states import ThreadStates
from unbroken.domain.ports.threads import Threads
from unbroken.entrypoints import observing
from unbroken.entrypoints.bus import carried
from unbroken.entrypoints.container import Container
from unbroken.entrypoints.served_project import Served
from unbroken.entrypoints.settings import Settings

log = logging.getLogger(__name__)

FOREVER_S = 1e9
"""A store in this process's memory has no other owner to wait for."""


class Service:
    """What a running replica offers to its transports."""

    accept: AcceptEvent
    cancel: Cancel
    subscribe: Subscribe
    acknowledge: Acknowledge
    sessions: Sessions
    outbox: Outbox
    agents: Agents
    queue: EventQueue
    delete_thread: DeleteThread
    threads: Threads
    thread_records: ThreadRecords
    assistants: Assistants
    states: ThreadStates
    files: Files
    readiness: Readiness
    runs: Runs
    audit: Audit
    checkpoints: Checkpoints
    state: CommittedState
    wake_effects: Callable[[], None]

    def __init__(self, settings: Settings, container: Container, agents: Agents) -> None:
        self.settings = settings
        self.agents = agents
        self.accept = container.accept()
        self.cancel = container.cancel()
        self.subscribe = container.subscribe()
        self.acknowledge = container.acknowledge()
        self.sessions = container.sessions()
        self.outbox = container.outbox()
        self.queue = container.queue()
        self.delete_thread = container.delete_thread()
        self.threads = container.threads()
        self.thread_records = container.thread_records()
        self.assistants = container.assistants()
        self.states = container.states()
        self.files = container.files()
        self.readiness = container.readiness()
        self.runs = container.runs()
        self.audit = container.audit()
        self.checkpoints = container.checkpoints()
        self.state = container.committed_state()
        self.wake_effects = container.effect_runner().wake
        self.memory: BaseStore | None = None
        """Agents' long-term one; None: there are no agents of ours."""
        self.project: Project | None = None
        self.auth: Auth | None = None
        """The project's own way to know callers and what they may do."""
        self.stopping = False
        self.intake: list[asyncio.Task[None]] = []
        """The loops that find new work."""

    async def drain(self, grace_s: float) -> None:
        """Begin nothing new, let running turns finish for `grace_s`, hand over the rest. Again: nothing happens."""
        self.stopping = True
        self.readiness.stop()
        await asyncio.gather(until_ended(self.intake), self.queue.close(grace_s))


@asynccontextmanager
async def running(
    settings: Settings,
    database_url: str | None,
    graphs: Sequence[NamedGraph],
    *,
    on_lost: Callable[[], None],
    served: Served | None = None,
) -> AsyncIterator[Service]:
    """Run one replica. `database_url` None: in memory, for this process alone. `on_lost` is called when another
    boot of the same replica has taken its place: this process must stop serving. `served`: all that
    the graphs come with; None: nothing.

    Raises StoreUnavailable if the store cannot be opened, Refused if an agent cannot be loaded.
    """
    async with AsyncExitStack() as stack:
        store: MemoryStore | PostgresStore
        # Clients of LangGraph's expect to read and to fork from every state that there ever was.
        in_project = served is not None and served.project is not None
        whole_history = settings.history == "all" or (settings.history is None and in_project)
        keep_branches = None if whole_history else settings.keep_branches
        if database_url is None:
            store = MemoryStore(SystemClock(), keep_branches=keep_branches)
            lease_ttl_s = FOREVER_S
        else:
            store = await stack.enter_async_context(
                open_postgres(database_url, pool_size=settings.pool_size, keep_branches=keep_branches)
            )
            lease_ttl_s = settings.lease_ttl_s
        joined_at = moment()
        replica = await store.replicas.join(settings.replica, lease_ttl_s=lease_ttl_s)
        stack.push_async_callback(_leave, store.replicas, replica)
        log.info("joined as %s, boot %d", replica.name, replica.boot)
        observed = observing.providers(f"{replica.name}/{replica.boot}") if observing.wanted() else None
        if observed is not None:
            stack.push_async_callback(observing.stop, observed)
        company = Company()
        lease: Lease = AlwaysHeld()
        if database_url is not None:
            lease = heartbeat = Heartbeat(
                database_url,
                replica.id,
                lease_ttl_s=settings.lease_ttl_s,
                interval_s=settings.heartbeat_s,
                on_lost=on_lost,
                on_alive=company.counted,
                joined_at=joined_at,
            )
            heartbeat.start()
            stack.push_async_callback(heartbeat.stop)
        wakeups, peers = await stack.enter_async_context(
            carried(settings, store, database_url, replica=replica.id, company=company)
        )

        served = served or Served(graphs)
        ttl = None if served.project is None else ttl_of(served.project)
        memory = LongTermStore(store.items, served.index, ttl)
        sweeping = asyncio.create_task(_forever(SweepItems(store.items, SystemClock(), served.sweep_s).forever))
        stack.push_async_callback(until_ended, [sweeping])
        agents = load_agents(
            graphs,
            store.checkpoints,
            commit=settings.commit,
            exceptions=settings.agent_commit,
            files=store.files,
            head_cache_bytes=settings.head_cache_bytes,
            memory=memory,
            whole_history=whole_history,
            runs=store.runs,
        )
        container = Container(
            settings=settings,
            replica_id=replica.id,
            event_store=store.event_store,
            sessions=store.sessions,
            controls=store.controls,
            unit_of_work=store.unit_of_work,
            outbox=store.outbox,
            timers=store.timers,
            health=store.health,
            threads=store.threads,
            thread_records=store.thread_records,
            assistants=store.assistants,
            states=GraphStates(agents, store.checkpoints, store.runs),
            files=store.files,
            user_data=store.user_data,
            checkpoints=store.checkpoints,
            runs=store.runs,
            audit=store.audit,
            committed_state=CommittedValues(agents, store.checkpoints, store.runs),
            agents=agents,
            wakeups=wakeups,
            peers=peers,
            lease=lease,
        )
        if observed is not None:
            observing.observe(container, observed.telemetry)
            gauges = observing.gauges(container, observed.telemetry, store)
            looking = asyncio.create_task(_forever(gauges.forever))
            stack.push_async_callback(until_ended, [looking])
        async with serving(settings, container, container.agents()) as service:
            service.memory, service.project, service.auth = memory, served.project, served.auth
            yield service


@asynccontextmanager
async def serving(settings: Settings, container: Container, agents: Agents) -> AsyncIterator[Service]:
    """What a replica does from the moment on at which it has joined, until it is to stop. Raises StoreUnavailable if
    what is unfinished cannot be taken up."""
    container.check_dependencies()
    service = Service(settings, container, agents)
    overhear = container.overhear()
    container.wakeups().listen(service.queue.hint, overhear.overheard)
    container.lease().listen(container.own_clock().regained)
    container.peers().receive(partial(deliver, container.show_afar().wanted, container.follow_afar().fed))
    await container.recover().once()
    intake = (container.recover(), container.effect_runner(), container.fire_timers())
    upkeep = (container.expire_silent(), container.expire_temporary())
    service.intake = [asyncio.create_task(_forever(loop.forever)) for loop in (*intake, *upkeep)]
    # While turns are drained, a cancel from another replica still ends them, and readers hear what others do.
    lasting = [
        asyncio.create_task(_forever(loop.forever))
        for loop in (container.acknowledge(), container.cancel(), container.delete_thread(), container.own_clock())
    ]
    lasting.append(asyncio.create_task(_forever(container.recover().catch_up_forever)))
    try:
        yield service
    finally:
        await service.drain(settings.drain_s)
        await overhear.close()
        await until_ended(lasting)
        try:
            await service.acknowledge.flush()
        except Unavailable as error:
            log.warning("the last delivery marks are lost: %s", error)


async def _forever(loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A poll must outlive a defect in what it polls: without it, what it looks for would wait for ever."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("a background loop failed; it begins anew")
            await asyncio.sleep(1.0)


async def _leave(replicas: Replicas, replica: Replica) -> None:
    try:
        await replicas.leave(replica.id)
    except Unavailable as error:
        log.warning("could not give the lease back; it ends by itself: %s", error)
