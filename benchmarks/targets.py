"""What was asked, and what came out: each target with the figure of every round, from raw data alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.idle import Idle
from benchmarks.long import Window
from benchmarks.report import Measurement, ratios, row, spread
from benchmarks.start import EMBEDDED, Start

OURS: Final = "unbroken"
IDLE_KINDS: Final = (OURS, "direct-memory")
A_LITTLE: Final = 0.05
"""Transactions and flushes beyond those of turns: acknowledgements, and connections opened in one run and not in the
other. As `tests/end_to_end/test_costs.py` has it."""


@dataclass(frozen=True)
class Target:
    name: str
    """Of the figure, with its conditions."""
    most: float | None
    """It must not be above; None: it is reported, and nothing was asked."""
    values: Sequence[float]
    """One a round; empty: not measured."""
    least: float | None = None
    """It must not be below."""
    decimals: int = 2
    unit: str = ""

    @property
    def asked(self) -> str:
        if self.least is not None:
            return f"≥ {self.least:g}{self.unit}"
        return f"≤ {self.most:g}{self.unit}" if self.most is not None else "–"

    @property
    def measured(self) -> str:
        return spread(self.values, self.decimals) + (self.unit if self.values else "")

    @property
    def reached(self) -> str:
        """By the median; whether every round did is said, too."""
        if not self.values or (self.most is None and self.least is None):
            return "–"
        if not self._holds(median(self.values)):
            return "**no**"
        return "yes" if all(self._holds(value) for value in self.values) else "yes, not in every round"

    def _holds(self, value: float) -> bool:
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


@dataclass(frozen=True)
class Measured:
    turns: Sequence[Measurement] = ()
    long: Sequence[Window] = ()
    idle: Sequence[Idle] = ()
    start: Sequence[Start] = ()


def targets(found: Measured) -> Iterator[tuple[str, list[Target]]]:
    """(heading, figures) in the order of asking."""
    yield "1. Turns a second, 100 sessions, 64 tokens, no delay", list(_throughput(found.turns))
    yield "2. Time to first token, 64 tokens", list(_first_token(found.turns))
    yield "3. What a turn writes, 64 tokens, no delay", list(_written(found.turns))
    yield "4. One conversation of 500 turns", list(_grown(found.long))
    yield "5. Idle sockets", list(_idle(found.idle))
    yield "6. 1,000 sessions streaming at once", list(_crowd(found.turns))
    yield "7. Start to ready, warm", list(_started(found.start))


def table(found: Measured) -> Iterator[str]:
    """Markdown."""
    yield row("target", ["asked", "measured (least–greatest)", "reached"])
    yield "|---|---|---|---|"
    for heading, figures in targets(found):
        yield row(f"**{heading}**", ["", "", ""])
        for one in figures:
            yield row(one.name, [one.asked, one.measured, one.reached])


def _throughput(turns: Sequence[Measurement]) -> Iterator[Target]:
    cell = _cell(turns, "no delay", 64, 100)
    for baseline, least in (("direct-memory", 1.2), ("direct-exit", 1.6), ("direct-postgres", 2.0)):
        yield Target(f"÷ {baseline}'s", None, ratios(cell, OURS, baseline, lambda one: one.turns_per_s), least)
    yield Target(
        "÷ direct-memory's, stretch", None, ratios(cell, OURS, "direct-memory", lambda one: one.turns_per_s), 1.6
    )


def _first_token(turns: Sequence[Measurement]) -> Iterator[Target]:
    one, crowd, streaming = (
        _cell(turns, shape, 64, sessions)
        for shape, sessions in (("no delay", 1), ("no delay", 100), ("streaming", 100))
    )
    first: Callable[[Measurement], float] = lambda one: one.first_token_p50  # noqa: E731
    yield Target("one session, p50 ÷ direct-postgres's", 0.7, ratios(one, OURS, "direct-postgres", first))
    yield Target("one session, p50 after direct-memory's", 1.0, _beyond(one, "direct-memory", first), unit=" ms")
    yield Target("100 sessions, p50 ÷ direct-memory's", 0.4, ratios(crowd, OURS, "direct-memory", first))
    yield Target("100 streaming sessions, p50 ÷ direct-memory's", 1.0, ratios(streaming, OURS, "direct-memory", first))
    p95 = ratios(streaming, OURS, "direct-memory", lambda one: one.first_token_p95)
    yield Target("100 streaming sessions, p95 ÷ direct-memory's", 1.0, p95)
    rate = ratios(streaming, OURS, "direct-memory", lambda one: one.turns_per_s)
    yield Target("100 streaming sessions, turns/s ÷ direct-memory's", None, rate, 1.1)
    yield Target("100 streaming sessions, turns/s ÷ direct-memory's, stretch", None, rate, 1.3)


def _written(turns: Sequence[Measurement]) -> Iterator[Target]:
    for sessions in (1, 100):
        cell, where = _cell(turns, "no delay", 64, sessions), f"{sessions} session{'s' if sessions > 1 else ''}"
        ours = [one for one in cell if one.kind == OURS]
        yield Target(f"transactions, {where}", 2 + A_LITTLE, [one.transactions for one in ours])
        yield Target(f"flushes, {where}", 2 + A_LITTLE, [one.wal_syncs for one in ours])
        for name, figure in (("WAL bytes", _wal_bytes), ("WAL bytes without whole pages", _record_bytes)):
            values = _over(cell, "direct-exit", figure)
            yield Target(f"{name} ÷ (direct-exit's + rows of events and effects), {where}", 1.0, values)
        yield Target(f"WAL records, {where}", None, [one.wal_records for one in ours], decimals=1)


def _wal_bytes(one: Measurement) -> float:
    return one.wal_bytes


def _record_bytes(one: Measurement) -> float:
    return one.wal_record_bytes


def _over(cell: Sequence[Measurement], baseline: str, figure: Callable[[Measurement], float]) -> list[float]:
    """Ours in parts of what the baseline writes and the rows that it does not have take."""
    bases = {one.round: figure(one) for one in cell if one.kind == baseline}
    return [
        figure(one) / (bases[one.round] + one.rows_bytes) for one in cell if one.kind == OURS and one.round in bases
    ]


def _grown(long: Sequence[Window]) -> Iterator[Target]:
    for tokens in dict.fromkeys(one.tokens for one in long) or (64,):
        ours = [one for one in long if (one.kind, one.tokens) == (OURS, tokens)]
        direct = [one for one in long if (one.kind, one.tokens) == ("direct-postgres", tokens)]
        where = f"turn 500 ÷ turn 5, {tokens} tokens"
        yield Target(f"server's CPU, {where}", 2.0, _growth(ours, lambda one: one.server_cpu))
        yield Target(f"direct-postgres's CPU, {where}", None, _growth(direct, lambda one: one.server_cpu))
        both = _growth(ours, lambda one: one.server_cpu + one.postgres_cpu)
        yield Target(f"server's and PostgreSQL's CPU, {where}", None, both)
        yield Target(f"first token, {where}", 1.1, _growth(ours, lambda one: one.first_token))
        yield Target(f"direct-postgres's first token, {where}", None, _growth(direct, lambda one: one.first_token))
        yield Target(f"WAL bytes without whole pages, {where}", None, _growth(ours, lambda one: one.wal_record_bytes))
        yield Target(f"WAL records, {where}", None, _growth(ours, lambda one: one.wal_records))
        rows = _growth(ours, lambda one: one.checkpoint_rows, since=100)
        yield Target(f"rows of checkpoints, turn 500 ÷ turn 100, {tokens} tokens", 1.1, rows)


def _growth(windows: Sequence[Window], figure: Callable[[Window], float], *, since: int = 5) -> list[float]:
    early = {one.round: figure(one) for one in windows if one.mark == since}
    return [figure(one) / early[one.round] for one in windows if one.mark == 500 and early.get(one.round)]


def _idle(idle: Sequence[Idle]) -> Iterator[Target]:
    for sockets in (1000, 5000):
        ours, direct = ([one for one in idle if (one.kind, one.sockets) == (kind, sockets)] for kind in IDLE_KINDS)
        base = {one.round: one.socket_kb for one in direct}
        values = [one.socket_kb / base[one.round] for one in ours if base.get(one.round)]
        yield Target(f"memory each at {sockets:,}, ÷ direct-memory's", 1.0, values)
        yield Target(f"memory each at {sockets:,}", None, [one.socket_kb for one in ours], decimals=1, unit=" KB")
    figures: list[tuple[str, Callable[[Idle], float]]] = [
        ("first token p50", lambda one: one.first_token_p50),
        ("turn p50", lambda one: one.turn_p50),
        ("turn p95", lambda one: one.turn_p95),
    ]
    for name, figure in figures:
        alone = {one.round: figure(one) for one in idle if (one.kind, one.sockets) == (OURS, 0)}
        beside = [one for one in idle if (one.kind, one.sockets) == (OURS, 5000) and one.round in alone]
        yield Target(f"{name} beside 5,000 ÷ alone", 1.1, [figure(one) / alone[one.round] for one in beside])
    costs = [one.server_cpu for one in idle if (one.kind, one.sockets) == (OURS, 5000)]
    yield Target("server's CPU a second beside 5,000", None, costs, decimals=1, unit=" ms")


def _crowd(turns: Sequence[Measurement]) -> Iterator[Target]:
    for shape in ("streaming", "no delay"):
        ours = [one for one in _cell(turns, shape, 64, 1000) if one.kind == OURS]
        yield Target(f"messages refused and sent again, {shape}", 0, [float(one.refused) for one in ours], decimals=0)
        overtaken = [float(one.overtaken) for one in ours]
        yield Target(f"turns of one other session that overtake a turn, {shape}", 1, overtaken, decimals=0)
        yield Target(f"turn p99 ÷ p50, {shape}", None, [one.turn_p99 / one.turn_p50 for one in ours])
        yield Target(f"turns/s, {shape}", None, [one.turns_per_s for one in ours], decimals=0)


def _started(start: Sequence[Start]) -> Iterator[Target]:
    for kind, what in ((OURS, "database elsewhere"), (EMBEDDED, "its own PostgreSQL")):
        ours = [one for one in start if one.kind == kind]
        yield Target(f"beyond its imports, {what}", 2.0, [one.own_s for one in ours], unit=" s")
        yield Target(f"all in all, {what}", None, [one.ready_s for one in ours], unit=" s")


def _cell(turns: Sequence[Measurement], shape: str, tokens: int, sessions: int) -> list[Measurement]:
    return [one for one in turns if one.setting == (shape, tokens, sessions)]


def _beyond(cell: Sequence[Measurement], baseline: str, figure: Callable[[Measurement], float]) -> list[float]:
    bases = {one.round: figure(one) for one in cell if one.kind == baseline}
    return [figure(one) - bases[one.round] for one in cell if one.kind == OURS and one.round in bases]
