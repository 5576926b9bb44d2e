"""The composition root: every use case and what it is given, spelled out.

The store is opened, and this replica has joined, before the container is made: so no provider here is
asynchronous, and whatever it makes can work from its first moment on.
"""

from __future__ import annotations

from typing import Final

from dependency_injector import containers, providers

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.in_process.wakeups import InProcessWakeups, NoPeers
from unbroken.application.accept_event import AcceptEvent
from unbroken.application.acknowledge import Acknowledge
from unbroken.application.cancel import Cancel
from unbroken.application.delete_thread import DeleteThread
from unbroken.application.effect_runner import EffectRunner
from unbroken.application.event_queue import EventQueue
from unbroken.application.expire_threads import of_silent_threads, of_temporary_threads
from unbroken.application.fire_timers import FireTimers
from unbroken.application.follow_afar import FollowAfar
from unbroken.application.live_sessions import LiveSessions
from unbroken.application.overhear import Overhear
from unbroken.application.own_clock import OwnClock
from unbroken.application.readiness import Readiness
from unbroken.application.recover import Recover
from unbroken.application.session_processor import SessionProcessor
from unbroken.application.show_afar import ShowAfar
from unbroken.application.subscribe import Subscribe
from unbroken.application.turn_end import TurnEnd
from unbroken.domain.policy import RetryPolicy
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.assistants import Assistants
from unbroken.domain.ports.audit import Audit
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.ports.committed_state import CommittedState, NoState
from unbroken.domain.ports.controls import Controls
from unbroken.domain.ports.event_store import EventStore
from unbroken.domain.ports.files import Files
from unbroken.domain.ports.lease import Lease
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.peers import Peers
from unbroken.domain.ports.runs import Runs
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.store_health import StoreHealth
from unbroken.domain.ports.thread_records import ThreadRecords
from unbroken.domain.ports.thread_states import ThreadStates
from unbroken.domain.ports.threads import Threads
from unbroken.domain.ports.timers import Timers
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.ports.user_data import UserData
from unbroken.domain.ports.wakeups import Wakeups
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.settings import Settings

EVICTION_POLL_S: Final = 1.0
"""Pause between two questions which of the threads that are watched here were deleted elsewhere."""


class Container(containers.DeclarativeContainer):
    settings = providers.Dependency(instance_of=Settings)
    replica_id = providers.Dependency(instance_of=int)
    event_store = providers.Dependency(instance_of=EventStore)
    sessions = providers.Dependency(instance_of=Sessions)
    controls = providers.Dependency(instance_of=Controls)
    unit_of_work = providers.Dependency(instance_of=UnitOfWork)
    outbox = providers.Dependency(instance_of=Outbox)
    timers = providers.Dependency(instance_of=Timers)
    health = providers.Dependency(instance_of=StoreHealth)
    threads = providers.Dependency(instance_of=Threads)
    thread_records = providers.Dependency(instance_of=ThreadRecords)
    assistants = providers.Dependency(instance_of=Assistants)
    states = providers.Dependency(instance_of=ThreadStates)
    files = providers.Dependency(instance_of=Files)
    user_data = providers.Dependency(instance_of=UserData)
    checkpoints = providers.Dependency(instance_of=Checkpoints)
    runs = providers.Dependency(instance_of=Runs)
    audit = providers.Dependency(instance_of=Audit)
    committed_state = providers.Dependency(instance_of=CommittedState, default=providers.Singleton(NoState))
    agents = providers.Dependency(instance_of=Agents)
    lease = providers.Dependency(instance_of=Lease)
    wakeups = providers.Dependency(instance_of=Wakeups, default=providers.Singleton(InProcessWakeups))
    peers = providers.Dependency(instance_of=Peers, default=providers.Singleton(NoPeers))

    clock = providers.Singleton(SystemClock)
    ids = providers.Object(new_id)
    live = providers.Singleton(LiveSessions, sessions, lease)

    retry = providers.Singleton(
        RetryPolicy,
        max_tries=settings.provided.max_tries,
        backoff_s=settings.provided.retry_backoff_s,
        max_backoff_s=settings.provided.retry_max_backoff_s,
    )
    effect_runner = providers.Singleton(
        EffectRunner,
        outbox=outbox,
        timers=timers,
        clock=clock,
        replica=replica_id,
        retry=retry,
        interval_s=settings.provided.effect_poll_s,
        claim_s=settings.provided.effect_claim_s,
    )
    turn_end = providers.Singleton(
        TurnEnd,
        sessions=sessions,
        agents=agents,
        unit_of_work=unit_of_work,
        live=live,
        clock=clock,
        wakeups=wakeups,
        new_id=ids,
        on_effects=effect_runner.provided.wake,
    )
    processor = providers.Singleton(
        SessionProcessor,
        agents=agents,
        sessions=sessions,
        unit_of_work=unit_of_work,
        live=live,
        end=turn_end,
        clock=clock,
        retry=retry,
        turn_limit_s=settings.provided.turn_limit_s,
    )
    queue = providers.Singleton(
        EventQueue,
        processor=processor,
        sessions=sessions,
        live=live,
        wakeups=wakeups,
        clock=clock,
        replica=replica_id,
        concurrent_turns=settings.provided.concurrent_turns,
    )
    own_clock = providers.Singleton(
        OwnClock, sessions=sessions, queue=queue, processor=processor, live=live, clock=clock, replica=replica_id
    )
    show_afar = providers.Singleton(ShowAfar, live, peers, replica_id)
    accept = providers.Singleton(
        AcceptEvent,
        event_store=event_store,
        files=files,
        agents=agents,
        queue=queue,
        live=live,
        wakeups=wakeups,
        clock=clock,
        new_id=ids,
        replica=replica_id,
        queue_limit=settings.provided.queue_limit,
        when_busy=settings.provided.busy_policy,
    )
    cancel = providers.Singleton(
        Cancel,
        controls=controls,
        queue=queue,
        processor=processor,
        wakeups=wakeups,
        clock=clock,
        replica=replica_id,
        interval_s=settings.provided.cancel_poll_s,
    )
    overhear = providers.Singleton(Overhear, queue=queue, live=live, cancel=cancel, clock=clock, replica=replica_id)
    follow_afar = providers.Singleton(FollowAfar, live, peers, replica_id, overhear.provided.overheard)
    readiness = providers.Singleton(
        Readiness,
        store=health,
        processor=processor,
        clock=clock,
        replica=replica_id,
        abandoned_limit=settings.provided.abandoned_limit,
    )
    subscribe = providers.Singleton(Subscribe, live, outbox)
    acknowledge = providers.Singleton(
        Acknowledge, outbox=outbox, live=live, clock=clock, interval_s=settings.provided.ack_flush_s
    )
    recover = providers.Singleton(
        Recover,
        sessions=sessions,
        queue=queue,
        clock=clock,
        replica=replica_id,
        interval_s=settings.provided.recovery_poll_s,
    )
    fire_timers = providers.Singleton(
        FireTimers, timers=timers, accept=accept, clock=clock, interval_s=settings.provided.timer_poll_s
    )
    delete_thread = providers.Singleton(
        DeleteThread,
        threads=threads,
        queue=queue,
        live=live,
        clock=clock,
        interval_s=EVICTION_POLL_S,
    )
    expire_silent = providers.Singleton(
        of_silent_threads, user_data=user_data, delete=delete_thread, clock=clock, days=settings.provided.retention_days
    )
    expire_temporary = providers.Singleton(of_temporary_threads, user_data=user_data, delete=delete_thread, clock=clock)
