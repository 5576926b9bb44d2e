"""Real servers, a real load, a PostgreSQL that nobody else uses."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from benchmarks.measure import counters, cpu_s
from benchmarks.report import Measurement
from benchmarks.rows_written import bytes_of_rows
from benchmarks.runs import Place, Run, Setting, run
from tests.conftest import on_database
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.embedded_binaries import bundled_bin_dir

pytestmark = pytest.mark.slow

SETTING = Setting("no delay", tokens=8, sessions=2, turns=10)
TURNS = SETTING.sessions * SETTING.turns
MANY = replace(SETTING, turns=100)
"""Enough for what they commit to stand out of what a replica does by itself."""
FRAMES_OF_UNBROKEN = 5
"""At least: accepted, user, reset, tokens, final."""


def place(postgres: EmbeddedPostgres, folder: Path, kind: str) -> Place:
    assert postgres.pid is not None
    return Place(
        on_database(postgres.url, "postgres"),
        {kind: postgres.url},
        postgres.pid,
        bundled_bin_dir(),
        folder,
        folder,
        frozenset(),
    )


async def measured(kind: str, where: Place, setting: Setting = SETTING) -> tuple[Run, Measurement]:
    found, idle = await run(kind, setting, where), await run(kind, setting, where, idle_s=0.5)
    return found, Measurement.of(kind, 1, setting, found, idle)


@pytest.mark.asyncio
async def test_a_direct_run_is_counted_to_the_frame_and_the_memory_saver_commits_nothing(
    own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    found, measurement = await measured("direct-memory", place(own_server, tmp_path, "direct-memory"))
    assert found.figures["frames"] == TURNS * (SETTING.tokens + 1)
    assert len(found.figures["turn_s"]) == len(found.figures["first_token_s"]) == TURNS
    assert len(found.figures["gaps_s"]) == TURNS * (SETTING.tokens - 1)
    assert all(0 < first <= turn for first, turn in zip(*_times(found), strict=True))
    assert measurement.transactions == 0


@pytest.mark.asyncio
async def test_ours_is_a_fourth_server_and_its_turns_commit(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    found, measurement = await measured("unbroken", place(own_server, tmp_path, "unbroken"), MANY)
    turns = MANY.sessions * MANY.turns
    assert len(found.figures["turn_s"]) == turns
    assert len(found.figures["gaps_s"]) == turns * (MANY.tokens - 1)
    assert turns * FRAMES_OF_UNBROKEN <= found.figures["frames"] <= turns * (MANY.tokens + 4)
    # An accept each, and a finish each or, where the two sessions' commits meet, for two; whatever else a replica does.
    assert found.counted.transactions >= turns * 3 / 2
    assert round(measurement.transactions * turns) == found.counted.transactions - measurement.idle_transactions
    assert found.log.records > turns
    assert 0 < found.log.record_bytes < 2 * found.counted.wal_bytes
    assert 0 < await bytes_of_rows(own_server.url, bundled_bin_dir()) < found.log.record_bytes / turns


@pytest.mark.asyncio
async def test_a_server_that_answers_with_other_words_fails_the_run(
    own_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Setting, "environment", {"TOKENS": "7"})
    with pytest.raises(RuntimeError, match=r"direct-memory.*the load ended early"):
        await run("direct-memory", SETTING, place(own_server, tmp_path, "direct-memory"))


def test_cpu_is_that_of_a_whole_tree_the_dead_included() -> None:
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    child = f"subprocess.run([sys.executable, '-c', {burn!r}])"
    command = [sys.executable, "-c", f"import subprocess, sys\n{child}\nprint(flush=True)\nsys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert 0.4 <= round(cpu_s(parent.pid), 2) <= 2.0  # a sum of ticks, of a hundredth each
        parent.communicate()
    assert cpu_s(parent.pid) == 0.0


@pytest.mark.parametrize("own_server", [18, 15], indirect=True)
@pytest.mark.asyncio
async def test_each_commit_is_counted_once_and_each_sync_is_seen(own_server: EmbeddedPostgres) -> None:
    reader = await asyncpg.connect(on_database(own_server.url, "postgres"))
    database = _database(own_server)
    await _commit(own_server.url, 0)
    first = await counters(reader, database)
    await _commit(own_server.url, 0)
    second = await counters(reader, database)
    await _commit(own_server.url, 25)
    third = await counters(reader, database)
    await reader.close()
    nothing, something = second.since(first), third.since(second)
    assert something.transactions - nothing.transactions == 25
    assert something.wal_syncs - nothing.wal_syncs >= 25
    assert something.wal_records - nothing.wal_records >= 25
    assert something.wal_bytes > something.wal_records


@pytest.mark.asyncio
async def test_what_an_idle_client_has_not_reported_yet_is_waited_for(own_server: EmbeddedPostgres) -> None:
    reader = await asyncpg.connect(on_database(own_server.url, "postgres"))
    await _commit(own_server.url, 0)
    before = await counters(reader, _database(own_server))
    client = await asyncpg.connect(own_server.url)
    for _ in range(25):
        await client.execute("SELECT 1")
    counting = asyncio.create_task(counters(reader, _database(own_server)))
    done, _ = await asyncio.wait({counting}, timeout=0.3)
    assert not done
    await client.close()
    assert (await counting).since(before).transactions >= 25
    await reader.close()


@pytest.mark.asyncio
async def test_a_client_that_stays_fails_the_run_instead_of_its_figures(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.measure.BACKENDS_GONE_S", 0.1)
    reader = await asyncpg.connect(on_database(own_server.url, "postgres"))
    client = await asyncpg.connect(own_server.url)
    with pytest.raises(RuntimeError, match="1 other clients"):
        await counters(reader, _database(own_server))
    await client.close()
    await reader.close()


def _database(postgres: EmbeddedPostgres) -> str:
    return postgres.url.partition("@/")[2].partition("?")[0]


async def _commit(url: str, times: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE IF NOT EXISTS counted (number int)")
    for number in range(times):
        await asyncio.wait_for(connection.execute(f"INSERT INTO counted VALUES ({number})"), 5)
    await connection.close()


def _times(found: Run) -> tuple[list[float], list[float]]:
    return sorted(found.figures["first_token_s"]), sorted(found.figures["turn_s"])
