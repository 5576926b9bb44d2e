"""Part `long`: one conversation of five hundred turns, one after another, and what a turn costs as it grows.

Figures are those of a window of turns around each mark. A fresh server and an empty database for each conversation, so
that tables hold nothing else; a short one before it on another thread has everything warm that can be.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

import asyncpg
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from benchmarks.load import Figures, Session, WrongAnswer
from benchmarks.machine import databases
from benchmarks.measure import LogWritten, cpu_s, log_position, log_written
from benchmarks.recital import words
from benchmarks.runs import Place, Setting
from benchmarks.servers import Server, server
from benchmarks.turns import turned

MARKS: Final = (5, 50, 100, 200, 300, 400, 500)
WINDOW: Final = 8
"""Turns, from three before the mark on: as many as Unbroken lets pass between two prunings, so that each has one."""
BEFORE_MARK: Final = 3
WARM_TURNS: Final = 16

SETTLE_S: Final = 0.2
"""Before and after a window: what follows an answer belongs to its turn."""

COLUMNS_OF_THREADS: Final = """
SELECT c.table_name::text AS name, array_agg(quote_ident(c.column_name)) AS columns FROM information_schema.columns c
JOIN information_schema.columns t USING (table_schema, table_name)
WHERE table_schema = 'public' AND t.column_name = 'thread_id' GROUP BY 1 ORDER BY 1
"""
ON_DISK: Final = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@dataclass(frozen=True)
class Window:
    """Around a turn of one conversation. Times in ms, costs a turn; what is stored is stored then, all in all."""

    kind: str
    round: int
    tokens: int
    mark: int
    first_token: float
    """The median over the window, like the next."""
    turn: float
    server_cpu: float
    postgres_cpu: float
    wal_records: float
    wal_bytes: float
    wal_record_bytes: float
    """Without whole pages, as in `Measurement`."""
    rows: int
    """Of the conversation, in all tables."""
    checkpoint_rows: int
    """Of these, LangGraph's."""
    stored_kb: float
    """What these rows hold, compressed as it is stored."""
    checkpoint_kb: float
    disk_kb: float
    """All tables with indexes and what is dead in them, beyond what they took when empty."""

    @property
    def cell(self) -> tuple[str, int]:
        return (self.kind, self.tokens)

    def line(self) -> str:
        return (
            f"{self.kind:16} {self.tokens} tokens, turn {self.mark:3}: {self.server_cpu:6.2f} + "
            f"{self.postgres_cpu:5.2f} ms of CPU, first token {self.first_token:6.2f} ms, "
            f"WAL {self.wal_bytes / 1024:7.1f} KB, {self.rows} rows, {self.stored_kb:.0f} KB stored"
        )


@dataclass(frozen=True)
class Stored:
    rows: int
    checkpoint_rows: int
    kb: float
    checkpoint_kb: float
    disk_kb: float


async def measure(options: argparse.Namespace, place: Place, into: list[Window]) -> None:
    """A conversation with a turn that is not answered as it must be has no figures from there on."""
    for tokens in options.long_tokens:
        for number in range(1, options.rounds + 1):
            for kind in turned(options.servers, number):
                with place.going_on():
                    try:
                        await _conversation(kind, number, tokens, options, place, into)
                    except (WrongAnswer, TimeoutError, WebSocketException) as error:
                        raise RuntimeError(f"{kind}, a long conversation, {tokens} tokens a turn: {error!r}") from None


async def _conversation(
    kind: str, number: int, tokens: int, options: argparse.Namespace, place: Place, into: list[Window]
) -> None:
    name = f"long-{kind}-{tokens}-{number}"
    url = (await databases(place.reader_url, [name]))[name]
    environment, log = Setting("no delay", tokens, 1, 1).environment, place.logs / f"long-{kind}.log"
    async with server(kind, url, environment, log, place.server_cores) as target, _reading(url) as reader:
        empty_bytes = await reader.fetchval(ON_DISK)
        async with _talking(target, tokens, Figures()) as (session, socket):
            for turn in range(1, WARM_TURNS + 1):
                await session.turn(socket, turn)
        figures, turn = Figures(), 0
        async with _talking(target, tokens, figures) as (session, socket):
            for mark in (mark for mark in MARKS if mark <= options.long_turns):
                while turn < mark - BEFORE_MARK - 1:
                    turn += 1
                    await session.turn(socket, turn)
                spent = await _spent(session, socket, range(turn + 1, turn + 1 + WINDOW), target, place, reader)
                turn += WINDOW
                stored = await _stored(reader, session.thread, empty_bytes)
                into.append(_window(kind, number, tokens, mark, figures, spent, stored))
                print(f"long, round {number}/{options.rounds}  {into[-1].line()}", file=sys.stderr, flush=True)


@asynccontextmanager
async def _reading(url: str) -> AsyncIterator[asyncpg.Connection]:
    reader = await asyncpg.connect(url)
    try:
        yield reader
    finally:
        await reader.close()


@asynccontextmanager
async def _talking(target: Server, tokens: int, figures: Figures) -> AsyncIterator[tuple[Session, ClientConnection]]:
    accepts = target.protocol == "unbroken"
    session = Session(target.url, 0, 0, "".join(words(tokens)), figures, accepts=accepts)
    async with await session.connect() as socket:
        yield session, socket


@dataclass(frozen=True)
class Spent:
    server_s: float
    postgres_s: float
    log: LogWritten


async def _spent(
    session: Session,
    socket: ClientConnection,
    turns: range,
    target: Server,
    place: Place,
    reader: asyncpg.Connection,
) -> Spent:
    await asyncio.sleep(SETTLE_S)
    begin = await log_position(reader)
    server_s, postgres_s = cpu_s(target.pid), cpu_s(place.postgres_pid)
    for turn in turns:
        await session.turn(socket, turn)
    await asyncio.sleep(SETTLE_S)
    server_s, postgres_s = cpu_s(target.pid) - server_s, cpu_s(place.postgres_pid) - postgres_s
    log = await log_written(reader, place.programs, begin, await log_position(reader))
    return Spent(server_s, postgres_s, log)


async def _stored(reader: asyncpg.Connection, thread: str, empty_bytes: int) -> Stored:
    rows = checkpoint_rows = stored_bytes = checkpoint_bytes = 0
    for table in await reader.fetch(COLUMNS_OF_THREADS):
        sizes = " + ".join(f"coalesce(pg_column_size({column}), 0)" for column in table["columns"])
        found = await reader.fetchrow(
            f"SELECT count(*), coalesce(sum({sizes}), 0)::bigint FROM {table['name']} WHERE thread_id = $1", thread
        )
        assert found is not None
        rows, stored_bytes = rows + found[0], stored_bytes + found[1]
        if table["name"].startswith("checkpoint"):
            checkpoint_rows, checkpoint_bytes = checkpoint_rows + found[0], checkpoint_bytes + found[1]
    disk_bytes = await reader.fetchval(ON_DISK) - empty_bytes
    return Stored(rows, checkpoint_rows, stored_bytes / 1024, checkpoint_bytes / 1024, disk_bytes / 1024)


def _window(kind: str, number: int, tokens: int, mark: int, figures: Figures, spent: Spent, stored: Stored) -> Window:
    """Of the last turns that `figures` holds."""
    return Window(
        kind=kind,
        round=number,
        tokens=tokens,
        mark=mark,
        first_token=median(figures.first_token_s[-WINDOW:]) * 1000,
        turn=median(figures.turn_s[-WINDOW:]) * 1000,
        server_cpu=spent.server_s / WINDOW * 1000,
        postgres_cpu=spent.postgres_s / WINDOW * 1000,
        wal_records=spent.log.records / WINDOW,
        wal_bytes=(spent.log.record_bytes + spent.log.page_bytes) / WINDOW,
        wal_record_bytes=spent.log.record_bytes / WINDOW,
        rows=stored.rows,
        checkpoint_rows=stored.checkpoint_rows,
        stored_kb=stored.kb,
        checkpoint_kb=stored.checkpoint_kb,
        disk_kb=stored.disk_kb,
    )
