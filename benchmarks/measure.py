"""What a run costs the machine: CPU and memory of process trees, PostgreSQL's own counters, and its log."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
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
LOG_TOTAL: Final = re.compile(r"^Total\s+(\d+)\s+(\d+) \[[^]]*\]\s+(\d+) \[[^]]*\]\s+(\d+) ", re.MULTILINE)
"""pg_waldump's last row: records, their bytes, bytes of whole pages, both."""


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


@dataclass(frozen=True)
class LogWritten:
    """A stretch of PostgreSQL's write-ahead log."""

    records: int
    record_bytes: int
    page_bytes: int
    """Of pages written whole, because they changed for the first time since a checkpoint: how many depends on when
    the last one was, and little on who writes."""

    def __sub__(self, other: LogWritten) -> LogWritten:
        return LogWritten(
            self.records - other.records, self.record_bytes - other.record_bytes, self.page_bytes - other.page_bytes
        )


async def log_position(connection: asyncpg.Connection) -> str:
    return str(await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text"))


async def log_written(connection: asyncpg.Connection, programs: Path, begin: str, end: str) -> LogWritten:
    """Between two positions, by `pg_waldump`: exact at once, whatever backends have not reported yet.

    Raises RuntimeError if the program cannot read it, e.g. because that part of the log is gone.
    """
    if begin == end:
        return LogWritten(0, 0, 0)
    folder = await connection.fetchval("SELECT current_setting('data_directory') || '/pg_wal'")
    command = [str(programs / "pg_waldump"), "--stats", "--path", folder, "--start", begin, "--end", end]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    shown, complaint = await process.communicate()
    return log_total(shown.decode(), complaint.decode())


def log_total(shown: str, complaint: str = "") -> LogWritten:
    """From what `pg_waldump --stats` prints. Raises RuntimeError."""
    found = LOG_TOTAL.search(shown)
    if found is None:
        raise RuntimeError(f"pg_waldump says nothing of a total: {complaint or shown}")
    records, record_bytes, page_bytes, _ = map(int, found.groups())
    return LogWritten(records, record_bytes, page_bytes)


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
        own_s = _clock_s(process.pid) if sys.platform == "linux" else float(times.user + times.system)
    except (psutil.NoSuchProcess, OSError):  # its parent has it now, if it ended between two looks
        return 0.0
    return own_s + float(times.children_user + times.children_system)


def _clock_s(pid: int) -> float:
    """The process's CPU clock, all its threads together, to the nanosecond; its ticks of /proc are a hundredth of a
    second each. The number is what clock_getcpuclockid(3) gives."""
    return time.clock_gettime((~pid << 3) | 2)


def own_bytes(pid: int) -> int:
    """Memory that is the process's own; what is mapped from files comes and goes as the system likes."""
    if sys.platform != "linux":
        return int(psutil.Process(pid).memory_info().rss)
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
