"""What a run costs the machine: CPU and memory of process trees, and PostgreSQL's own counters."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Final

import asyncpg
import psutil

SYNCS_IN_IO_SINCE: Final = 180000
"""From PostgreSQL 18 on, pg_stat_io counts what pg_stat_wal counted before."""
BACKENDS_GONE_S: Final = 20.0

COUNTERS: Final = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = $1) AS transactions,
    wal_records, wal_fpi AS wal_full_pages, wal_bytes::bigint, {syncs} AS wal_syncs
FROM pg_stat_wal
"""
SYNCS_IN_IO: Final = "(SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal')"
OTHER_BACKENDS: Final = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Counters:
    """PostgreSQL's since it began: of all databases together, but for the transactions."""

    transactions: int
    """Of one database."""
    wal_records: int
    wal_full_pages: int
    wal_bytes: int
    wal_syncs: int

    def since(self, before: Counters) -> Counters:
        earlier = asdict(before)
        return Counters(**{name: value - earlier[name] for name, value in asdict(self).items()})


async def counters(connection: asyncpg.Connection, database: str) -> Counters:
    """Waits until every other client has left, which makes them exact: a backend reports what it did at most once a
    second, one that then falls idle ten seconds later, and each when it ends. `connection` is to another database
    than the one asked about. Raises RuntimeError if one stays."""
    deadline = time.monotonic() + BACKENDS_GONE_S
    while others := await connection.fetchval(OTHER_BACKENDS):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{others} other clients stay connected to PostgreSQL")
        await asyncio.sleep(0.05)
    version = await connection.fetchval("SELECT current_setting('server_version_num')::int")
    syncs = SYNCS_IN_IO if version >= SYNCS_IN_IO_SINCE else "wal_sync"
    row = await connection.fetchrow(COUNTERS.format(syncs=syncs), database)
    assert row is not None
    return Counters(**row)


def cpu_s(pid: int) -> float:
    """Of the process, its living descendants and those of them that have ended, in seconds."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_spent_s(process) for process in tree)


def _spent_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # its parent has it now, if it ended between two looks
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def resident_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)
