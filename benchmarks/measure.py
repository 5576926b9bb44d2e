"""What a run costs the machine: CPU of process trees, and PostgreSQL's own counters."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import asyncpg
import psutil


@dataclass(frozen=True)
class Costs:
    server_cpu_s: float
    postgres_cpu_s: float
    transactions: int
    wal_bytes: int
    wal_records: int
    wal_syncs: int

    def since(self, before: Costs) -> Costs:
        earlier = asdict(before)
        return Costs(**{name: value - earlier[name] for name, value in asdict(self).items()})


def cpu_s(pid: int) -> float:
    """Of the process and its living descendants, in seconds."""
    try:
        root = psutil.Process(pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return float(sum(each.user + each.system for each in times))


async def costs(database_url: str, server_pid: int, postgres_pid: int) -> Costs:
    """Counters since the servers began. PostgreSQL 18: its WAL syncs are in `pg_stat_io`."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        transactions = await connection.fetchval("SELECT sum(xact_commit)::bigint FROM pg_stat_database")
        wal = await connection.fetchrow("SELECT wal_bytes::bigint, wal_records FROM pg_stat_wal")
        syncs = await connection.fetchval(
            "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io WHERE object = 'wal'"
        )
    finally:
        await connection.close()
    assert wal is not None
    return Costs(cpu_s(server_pid), cpu_s(postgres_pid), transactions, wal["wal_bytes"], wal["wal_records"], syncs)
