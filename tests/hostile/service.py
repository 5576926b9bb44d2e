"""The application as a server runs it, over the memory store, with a scripted agent, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from dependency_injector import providers
from litestar import WebSocket

from tests.application.scripted_agent import OneAgent, ScriptedAgent, asked
from tests.application.virtual_time import VirtualClock
from tests.application.world import remembered
from tests.hostile.pipe import Pipe
from unbroken.adapters.in_process.lease import AlwaysHeld
from unbroken.adapters.langgraph.thread_states import GraphStates
from unbroken.adapters.memory.store import MemoryStore
from unbroken.application.live_sessions import LiveSessions
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.ports.identity import User
from unbroken.domain.turn import Answer, Question
from unbroken.entrypoints.container import Container
from unbroken.entrypoints.service import Service, serving
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.web.chat_sockets import ChatSockets
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.open_connections import OpenConnections
from unbroken.entrypoints.web.user_limits import UserLimits

SETTINGS: Final = Settings(
    max_frame_bytes=4096,
    max_content_bytes=1024,
    queue_limit=20,
    recovery_poll_s=20,
    effect_poll_s=20,
    cancel_poll_s=5,
    timer_poll_s=20,
    ack_flush_s=5,
)
"""Limits that short frames reach, and few polls: in virtual time nobody waits for them."""
USER_SOCKETS: Final = 8


class Echo(ScriptedAgent):
    """Says what it was told, in three tokens; every fifth answer asks something, every seventh takes a while."""

    async def run(self, attempt: Attempt) -> Answer:
        answer = await super().run(attempt)
        if attempt.claim.event.seq % 5 == 0:
            answer = Answer(answer.text, answer.content, answer.state, (Question(f"ask-{attempt.claim.run}", "sure?"),))
        self.runs.clear()  # or else it would remember every message there ever was
        return answer


async def echo(attempt: Attempt) -> str:
    words = ["re: ", asked(attempt.claim), "!"]
    for word in words:
        await asyncio.sleep(1.0 if attempt.claim.event.seq % 7 == 0 else 0.01)
        attempt.text(attempt.claim.event.id, word)
    return "".join(words)


class Host:
    """One process of the service, and what it must not keep of those who have left."""

    def __init__(self, service: Service, store: MemoryStore, connections: OpenConnections, limits: UserLimits) -> None:
        self.service = service
        self.store = store
        self.unhandled: list[str] = []
        self._connections = connections
        self._sockets = ChatSockets(service, limits, connections)
        self._limits = limits
        self._live: LiveSessions = service.subscribe._live

    async def serve(self, pipe: Pipe, user: str) -> None:
        """What the web application does with a socket, until it ends."""
        try:
            await self._sockets.converse(cast("WebSocket[Any, Any, Any]", pipe), User(user))
        except Closed as end:
            pipe.code = int(end.code)
        except OSError:
            if pipe.open:
                raise
        finally:
            pipe.ended.set()

    def kept(self) -> dict[str, int]:
        """What is left in memory beside the store, by who holds it: all zero once nobody is connected."""
        queue = self.service.queue
        return {
            "live sessions": len(self._live),
            "connections": len(self._connections),
            "open sockets": len(self._limits._open),
            "queue": remembered(queue),
            "processor": remembered(queue._processor),
        }


@asynccontextmanager
async def hosting() -> AsyncIterator[Host]:
    """A service of its own; afterwards it has ended."""
    clock = VirtualClock()
    store = MemoryStore(clock)
    replica = await store.replicas.join("one", lease_ttl_s=1e9)
    agents = OneAgent(Echo(store.checkpoints, echo))
    container = Container(
        settings=SETTINGS,
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
        states=GraphStates(agents, store.checkpoints),
        files=store.files,
        user_data=store.user_data,
        checkpoints=store.checkpoints,
        runs=store.runs,
        audit=store.audit,
        agents=agents,
        lease=AlwaysHeld(),
    )
    container.clock.override(providers.Object(clock))
    limits = UserLimits(sockets=USER_SOCKETS, messages_per_min=3_000, threads=20)
    async with serving(SETTINGS, container, agents) as service:
        connections = OpenConnections(service)
        watch = asyncio.create_task(connections.close_stalled_forever())
        try:
            yield Host(service, store, connections, limits)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
