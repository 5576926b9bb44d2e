"""What a turn costs the database: two transactions, two flushes of its log, apart from what any replica does."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from msgspec import Struct

from tests.conftest import on_database
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.event_store import ACCEPT
from unbroken.adapters.postgres.group_commit import COMMIT
from unbroken.adapters.postgres.outbox import MARK
from unbroken.adapters.postgres.replicas import RENEW
from unbroken.adapters.postgres.sessions import ALONE, BEHIND
from unbroken.adapters.postgres.threads import GONE
from unbroken.adapters.postgres.unit_of_work import COMMIT_AND_PRUNE

TURNS = 200
A_TURN = 2.05
"""Accept and finish, and a little room for what begins or ends at one run's edge and not at the other's."""
RARE_POLLS = {f"UNBROKEN_{name}_POLL_S": "3600" for name in ("RECOVERY", "EFFECT", "TIMER")}
"""Polls are the same whether anybody talks or not, but how many fall into a run is a matter of milliseconds."""
BY_ITSELF: Final = {"heartbeats": RENEW, "acknowledgements": MARK, "census": ALONE, "deleted?": GONE, "behind?": BEHIND}
"""What is left of them, each statement a transaction: as many as a run has seconds, or in one of the two runs only."""
SETTINGS = RARE_POLLS | {"UNBROKEN_FRAMES_PER_S": "10000", "UNBROKEN_POOL_SIZE": "4"}
"""Nobody types as fast as this test. The pool cannot grow: each connection opened costs a handful of transactions."""
LOGGED: Final = re.compile(r"LOG:  (?:execute [^:]+|statement): (.*(?:\n\t.*)*)")


class Spent(Struct, frozen=True):
    """What a run of the server spent, from before its first connection to after its last one."""

    commits: int
    flushes: int
    """fsyncs of the write-ahead log, by whichever process."""
    written: int
    """Rows of acknowledgements and heartbeats: each is of one thread, or replica, so rows are flushes."""
    statements: Counter[str]

    def __sub__(self, other: Spent) -> Spent:
        statements = self.statements.copy()
        statements.subtract(other.statements)
        return Spent(
            self.commits - other.commits, self.flushes - other.flushes, self.written - other.written, statements
        )

    def of(self, sql: str) -> int:
        return self.statements[" ".join(sql.split())]

    def said(self) -> str:
        by_itself = ", ".join(f"{self.of(sql)} {name}" for name, sql in BY_ITSELF.items())
        return f"{self.commits} commits ({by_itself}), {self.flushes} fsyncs"


def counters(url: str) -> Spent:
    """Read in another database, once nobody is connected: processes report their counts when they end."""
    with psycopg.connect(on_database(url, "postgres"), autocommit=True) as connection:
        name = url.rpartition("@")[2].strip("/").partition("?")[0]
        while connection.execute("SELECT FROM pg_stat_activity WHERE datname = %s", [name]).fetchone():
            time.sleep(0.05)
        commits = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = %s", [name]).fetchone()
        flushes = connection.execute("SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'").fetchone()
        statements = logged(connection)
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT relname, n_tup_ins + n_tup_upd FROM pg_stat_user_tables").fetchall()
        written: dict[str, int] = {table: count for table, count in rows}  # noqa: C416
    assert commits is not None
    assert flushes is not None
    return Spent(int(commits[0]), int(flushes[0]), written["deliveries"] + written["replicas"], statements)


def logged(connection: psycopg.Connection[tuple[Any, ...]]) -> Counter[str]:
    """How often each statement was executed; the server's log is written by another process, which is waited for."""
    (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    mark = f"SELECT 'counted at {time.monotonic_ns()}'"
    connection.execute(mark.encode())
    deadline = time.monotonic() + 60
    while mark not in (said := "".join(file.read_text() for file in Path(folder, "log").iterdir())):
        assert time.monotonic() < deadline, "the server does not log its statements"
        time.sleep(0.05)
    return Counter(" ".join(statement.split()) for statement in LOGGED.findall(said))


async def converse(server: Server) -> None:
    async with Client(server.url, thread="costs", agent="one") as client:
        for turn in range(TURNS):
            (final,) = await client.answered(await client.say(f"{turn} words=0"))
            assert (final["type"], final["attempt"]) == ("final", turn + 1)
        assert client.view.faults == []


async def idle(server: Server, seconds: float) -> None:
    async with Client(server.url, thread="idle", agent="one"):
        await asyncio.sleep(seconds)


@pytest.mark.slow
def test_a_turn_of_a_one_node_graph_costs_two_transactions(own_server: EmbeddedPostgres, folder: Path) -> None:
    url = own_server.url
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("autovacuum = off", "log_statement = 'all'", "log_parameter_max_length = 0"):
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())  # a vacuum's transactions would count as ours
        connection.execute("SELECT pg_reload_conf()")
    start = counters(url)
    with Server(folder, database_url=url, environment=SETTINGS) as server:
        began = time.monotonic()
        asyncio.run(converse(server))
        seconds = time.monotonic() - began
    busy = counters(url)
    with server:
        asyncio.run(idle(server, seconds))
    idling = counters(url) - busy
    busy -= start

    turns = busy - idling
    commits = (turns.commits - sum(turns.of(sql) for sql in BY_ITSELF.values())) / TURNS
    flushes = (turns.flushes - turns.written) / TURNS
    sys.stdout.write(
        f"{TURNS} turns in {seconds:.1f} s: {commits:.3f} commits and {flushes:.3f} WAL fsyncs a turn, apart from what "
        f"a replica does by itself; with turns {busy.said()}, idle {idling.said()}\n"
    )
    assert turns.of(ACCEPT) == turns.of(COMMIT) + turns.of(COMMIT_AND_PRUNE) == TURNS
    assert busy.of(RENEW) and busy.of(MARK), "statements are found in the server's log"  # noqa: PT018
    assert commits <= A_TURN, turns.statements
    assert flushes <= A_TURN
