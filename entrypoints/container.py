"""The composition root: every use case and what it is given, spelled out.

The store is opened, and this replica has joined, before the container is made: so no provider here is
asynchronous, and whatever it makes can work from its first moment on.
"""

from __future__ import annotations

from dependency_injector import containers, providers

from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.in_process.wakeups import InProcessWakeups
from unbroken.application.accept_event import AcceptEvent
from unbroken.application.acknowledge import Acknowledge
from unbroken.application.effect_runner import EffectRunner
from unbroken.application.event_queue import EventQueue
from unbroken.application.fire_timers import FireTimers
from unbroken.application.live_sessions import LiveSessions
from unbroken.application.recover import Recover
from unbroken.application.session_processor import SessionProcessor
from unbroken.application.subscribe import Subscribe
from unbroken.domain.policy import RetryPolicy
from unbroken.domain.ports.agent import Agents
from unbroken.domain.ports.event_store import EventStore
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.ports.timers import Timers
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.settings import Settings


class Container(containers.DeclarativeContainer):
    settings = providers.Dependency(instance_of=Settings)
    replica_id = providers.Dependency(instance_of=int)
    event_store = providers.Dependency(instance_of=EventStore)
    sessions = providers.Dependency(instance_of=Sessions)
    unit_of_work = providers.Dependency(instance_of=UnitOfWork)
    outbox = providers.Dependency(instance_of=Outbox)
    timers = providers.Dependency(instance_of=Timers)
    agents = providers.Dependency(instance_of=Agents)

    clock = providers.Singleton(SystemClock)
    wakeups = providers.Singleton(InProcessWakeups)
    live = providers.Singleton(LiveSessions, sessions)

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
    processor = providers.Singleton(
        SessionProcessor,
        agents=agents,
        unit_of_work=unit_of_work,
        live=live,
        clock=clock,
        new_id=providers.Object(new_id),
        retry=retry,
        turn_limit_s=settings.provided.turn_limit_s,
        on_effects=effect_runner.provided.wake,
    )
    queue = providers.Singleton(
        EventQueue,
        processor=processor,
        sessions=sessions,
        live=live,
        clock=clock,
        replica=replica_id,
        concurrent_turns=settings.provided.concurrent_turns,
    )
    accept = providers.Singleton(
        AcceptEvent,
        event_store=event_store,
        agents=agents,
        queue=queue,
        live=live,
        wakeups=wakeups,
        new_id=providers.Object(new_id),
        replica=replica_id,
        queue_limit=settings.provided.queue_limit,
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
