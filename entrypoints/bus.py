"""What carries hints and messages between the replicas of one database: chosen by URL."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from unbroken.adapters.carried_hints import Company
from unbroken.adapters.in_process.wakeups import InProcessWakeups, NoPeers
from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.postgres.hints import PostgresHints
from unbroken.adapters.postgres.store import PostgresStore
from unbroken.domain.ports.peers import Peers
from unbroken.domain.ports.wakeups import Wakeups
from unbroken.entrypoints.settings import Settings

log = logging.getLogger(__name__)


@asynccontextmanager
async def carried(
    settings: Settings,
    store: MemoryStore | PostgresStore,
    database_url: str | None,
    *,
    replica: int,
    company: Company,
) -> AsyncIterator[tuple[Wakeups, Peers]]:
    """Until it is left, what this replica tells others reaches them, as far as anything does. Nothing waits for the
    carrier, now or later. Raises StoreUnavailable."""
    url = settings.bus_url or database_url
    if url == "none" or database_url is None or isinstance(store, MemoryStore):
        log.info("nothing carries hints: what other replicas do is found by polls")
        yield InProcessWakeups(), NoPeers()
        return
    assert url is not None
    identity = await store.identity()
    if url.startswith("postgresql://"):
        log.info("hints travel by LISTEN/NOTIFY")
        async with PostgresHints(url, replica=replica, identity=identity, company=company) as hints:
            yield hints, NoPeers()
        return
    from unbroken.adapters.nats.bus import NatsBus  # noqa: PLC0415 — most have no broker

    log.info("hints and messages travel by NATS")
    async with NatsBus(url, replica=replica, identity=identity, company=company) as bus:
        yield bus, bus
