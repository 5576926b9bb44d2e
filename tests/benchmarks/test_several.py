"""Figures of several replicas: the same turns in all, spread evenly; a token that is not seen live is no hop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import hop
from benchmarks.document import scaling
from benchmarks.hop import OTHER, SAME, Hop, Turn, arrivals
from benchmarks.kept import add, rows
from benchmarks.replicas import Several, Spent, _row, once, several
from benchmarks.runs import SETTLE_S, Place, Setting
from tests.conftest import on_database
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.embedded_binaries import bundled_bin_dir

SETTING = Setting("no delay", tokens=8, sessions=4, turns=3)


def figures(took_s: float, turns: int, **changed: Any) -> dict[str, Any]:
    times = [0.01 * (number + 1) for number in range(turns)]
    return {"took_s": took_s, "cpu_s": 1.0, "refused": 1, "first_token_s": times, "turn_s": times, **changed}


def test_costs_are_of_all_replicas_together_and_without_what_they_cost_idle() -> None:
    idle = Spent(0.4, 0.2, 0.04)  # of four seconds
    spent = Spent(1.2 + 0.1 * (2 + SETTLE_S), 0.6 + 0.05 * (2 + SETTLE_S), 0.12 + 0.01 * (2 + SETTLE_S))
    found = _row("nats", 2, 1, SETTING, [figures(1.5, 6), figures(2.0, 6)], spent, idle)
    assert [found.server_cpu, found.postgres_cpu, found.broker_cpu] == pytest.approx([100.0, 50.0, 10.0])
    assert found.idle_server_cpu == pytest.approx(100.0)
    assert (found.turns_per_s, found.load_busy, found.refused) == (6.0, 1.0, 2)


def test_a_run_with_a_turn_missing_is_refused() -> None:
    nothing = Spent(0.0, 0.0, 0.0)
    with pytest.raises(RuntimeError, match="11 of 12 turns"):
        _row("nats", 2, 1, SETTING, [figures(1.5, 6), figures(2.0, 5)], nothing, nothing)


def test_a_token_has_arrived_when_its_last_character_has() -> None:
    assert arrivals([(1.0, 5), (2.0, 6), (3.0, 12), (4.0, 18)], 3) == [2.0, 3.0, 4.0]
    assert arrivals([(1.0, 18)], 3) == [1.0, 1.0, 1.0]
    assert arrivals([], 3) == []


def test_a_hop_is_told_of_tokens_that_were_seen_live_and_their_share() -> None:
    turns = [(Turn(0.0, [1.0, 2.0, 3.0, 4.0], 4), Turn(0.0, [1.5, 2.5], 1))]
    found = hop.row(OTHER, 1, replace(SETTING, tokens=4), turns)
    assert [found.hop_p50, found.live, found.frames] == pytest.approx([500.0, 0.5, 1.0])
    with pytest.raises(RuntimeError, match="no token"):
        hop.row(OTHER, 1, SETTING, [(turns[0][0], Turn(0.0, [], 0))])


def test_the_tables_tell_how_many_replicas_and_what_was_between_them(tmp_path: Path) -> None:
    nothing = Spent(0.0, 0.0, 0.0)
    found = [_row(bus, 2, 1, SETTING, [figures(2.0, 6)] * 2, nothing, nothing) for bus in ("nats", "postgres")]
    add(tmp_path / "replicas.json", Several, found)
    turns = [(Turn(0.0, [1.0], 1), Turn(0.0, [1.5], 1))]
    add(tmp_path / "hop.json", Hop, [hop.row(where, 1, replace(SETTING, tokens=1), turns) for where in (SAME, OTHER)])
    told = "\n".join(scaling(tmp_path))
    for name in ("2 × NATS", "2 × Postgres hints", f"watched at {SAME}", f"watched at {OTHER}", "Measured at"):
        assert name in told
    assert len(rows(tmp_path / "replicas.json", Several)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("bus", ["nats", "postgres"])
@pytest.mark.asyncio
async def test_two_replicas_answer_every_turn_of_the_load(
    own_server: EmbeddedPostgres, tmp_path: Path, bus: str
) -> None:
    found = await once(bus, 2, 1, SETTING, place(own_server, tmp_path))
    assert (found.replicas, found.bus, found.sessions) == (2, bus, 4)
    assert found.turns_per_s > 0
    assert found.server_cpu > 0
    assert found.idle_server_cpu > 0


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_client_at_the_owner_s_replica_sees_every_token_live(
    own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    setting = Setting("streaming", tokens=8, sessions=1, turns=2)
    async with several("postgres", 1, setting, place(own_server, tmp_path)) as (targets, _):
        found = await hop.once(SAME, targets[0], targets[0], 1, setting)
    assert found.live == 1.0
    assert abs(found.hop_p50) < 1000


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_client_at_another_replica_sees_tokens_live(own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    setting = Setting("streaming", tokens=64, sessions=1, turns=2)
    async with several("nats", 2, setting, place(own_server, tmp_path)) as (targets, _):
        found = await hop.once(OTHER, targets[0], targets[1], 1, setting)
    assert 0.0 < found.live <= 1.0
    assert found.frames > 2


def place(postgres: EmbeddedPostgres, folder: Path) -> Place:
    assert postgres.pid is not None
    return Place(
        on_database(postgres.url, "postgres"),
        {"unbroken": postgres.url},
        postgres.pid,
        bundled_bin_dir(),
        folder,
        folder,
        frozenset(),
    )
