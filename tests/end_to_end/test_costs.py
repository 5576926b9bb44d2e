"""What a turn costs the database: two transactions, two flushes of its log; acknowledgements and heartbeats apart."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import psycopg
import pytest
from msgspec import Struct

from tests.conftest import on_database
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

TURNS = 200
A_TURN = 2.05
"""Accept and finish, and a little room for connections that one run opened and the other did not."""
RARE_POLLS = {f"UNBROKEN_{name}_POLL_S": "3600" for name in ("RECOVERY", "EFFECT", "TIMER")}
"""Polls are the same whether anybody talks or not, but how many fall into a run is a matter of milliseconds."""
SETTINGS = RARE_POLLS | {"UNBROKEN_FRAMES_PER_S": "10000"}
"""Nobody types as fast as this test."""


class Spent(Struct, frozen=True):
    """What a run of the server spent, from before its first connection to after its last one."""

    commits: int
    flushes: int
    """fsyncs of the write-ahead log, by whichever process."""
    acks: int
    heartbeats: int

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, name) - getattr(other, name) for name in self.__struct_fields__))


def counters(url: str) -> Spent:
    """Read in another database, once nobody is connected: processes report their counts when they end."""
    with psycopg.connect(on_database(url, "postgres"), autocommit=True) as connection:
        name = url.rpartition("@")[2].strip("/").partition("?")[0]
        while connection.execute("SELECT FROM pg_stat_activity WHERE datname = %s", [name]).fetchone():
            time.sleep(0.05)
        commits = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = %s", [name]).fetchone()
        flushes = connection.execute("SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'").fetchone()
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT relname, n_tup_ins + n_tup_upd FROM pg_stat_user_tables").fetchall()
        written: dict[str, int] = {table: count for table, count in rows}  # noqa: C416
    assert commits is not None
    assert flushes is not None
    return Spent(int(commits[0]), int(flushes[0]), written["deliveries"], written["replicas"])


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
        connection.execute("ALTER SYSTEM SET autovacuum = off")  # its workers' transactions would count as ours
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

    turns = busy - start - idling
    apart = turns.acks + turns.heartbeats
    """Each writes one row of one thread, or replica: so rows are transactions."""
    commits, flushes = (turns.commits - apart) / TURNS, (turns.flushes - apart) / TURNS
    sys.stdout.write(
        f"{TURNS} turns in {seconds:.1f} s: {commits:.3f} commits and {flushes:.3f} WAL fsyncs a turn; apart from them "
        f"{turns.acks} commits of acknowledgements; an idle server in the same time: {idling.commits} commits, "
        f"{idling.flushes} fsyncs, {idling.heartbeats} heartbeats\n"
    )
    assert commits <= A_TURN
    assert flushes <= A_TURN
