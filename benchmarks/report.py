"""From raw times to medians over rounds, and ratios within a round."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median
from typing import Self

from benchmarks.runs import Run, Setting
from benchmarks.servers import KINDS

BASELINES = tuple(kind for kind in KINDS if kind != "unbroken")


@dataclass(frozen=True)
class Measurement:
    """One server, once. Times in milliseconds; costs a turn, without what an idle run of equal length costs."""

    kind: str
    round: int
    shape: str
    tokens: int
    sessions: int
    turns: int
    turns_per_s: float
    first_token_p50: float
    first_token_p95: float
    first_token_p99: float
    turn_p50: float
    turn_p95: float
    turn_p99: float
    gap_p50: float
    gap_p95: float
    gap_p99: float
    refused: int
    """Messages in all that the server could not accept at that moment, and that were sent again."""
    overtaken: int
    """The most turns of one other session that were asked for and answered between a turn's being asked for and its
    first token."""
    server_cpu: float
    postgres_cpu: float
    load_cpu: float
    load_busy: float
    """Share of a core that the load itself took, from 0 to 1: near 1 it measures itself."""
    transactions: float
    wal_records: float
    wal_full_pages: float
    wal_bytes: float
    wal_record_bytes: float
    """Without whole pages: how many of those are written depends on when the last checkpoint was."""
    rows_bytes: float
    """Of that, the events' and effects' rows themselves with their indexes; 0 where there are none."""
    wal_syncs: float
    wire_bytes: float
    frames: float
    idle_transactions: int
    """Of the whole idle run, start and stop included: about as exact as their number varies, some 20 for a server
    whose pool grows by a few connections. So a run needs hundreds of turns."""

    @classmethod
    def of(cls, kind: str, number: int, setting: Setting, run: Run, idle: Run, *, rows_bytes: float = 0.0) -> Self:
        """`idle`: of a run as long, without turns. Raises RuntimeError if turns are missing."""
        figures, count = run.figures, setting.sessions * setting.turns
        if not len(figures["turn_s"]) == len(figures["first_token_s"]) == count:
            raise RuntimeError(f"{kind}: {len(figures['turn_s'])} of {count} turns were measured")
        counted, log = run.counted.since(idle.counted), run.log - idle.log
        first, turn, gaps = (sorted(figures[name]) for name in ("first_token_s", "turn_s", "gaps_s"))
        return cls(
            kind=kind,
            round=number,
            shape=setting.shape,
            tokens=setting.tokens,
            sessions=setting.sessions,
            turns=setting.turns,
            turns_per_s=count / figures["took_s"],
            first_token_p50=quantile_ms(first, 0.5),
            first_token_p95=quantile_ms(first, 0.95),
            first_token_p99=quantile_ms(first, 0.99),
            turn_p50=quantile_ms(turn, 0.5),
            turn_p95=quantile_ms(turn, 0.95),
            turn_p99=quantile_ms(turn, 0.99),
            gap_p50=quantile_ms(gaps, 0.5),
            gap_p95=quantile_ms(gaps, 0.95),
            gap_p99=quantile_ms(gaps, 0.99),
            refused=figures["refused"],
            overtaken=overtaken(figures["timeline"]),
            server_cpu=(run.server_cpu_s - idle.server_cpu_s) / count * 1000,
            postgres_cpu=(run.postgres_cpu_s - idle.postgres_cpu_s) / count * 1000,
            load_cpu=figures["cpu_s"] / count * 1000,
            load_busy=figures["cpu_s"] / figures["took_s"],
            transactions=counted.transactions / count,
            wal_records=counted.wal_records / count,
            wal_full_pages=counted.wal_full_pages / count,
            wal_bytes=counted.wal_bytes / count,
            wal_record_bytes=log.record_bytes / count,
            rows_bytes=rows_bytes,
            wal_syncs=counted.wal_syncs / count,
            wire_bytes=figures["bytes"] / count,
            frames=figures["frames"] / count,
            idle_transactions=idle.counted.transactions,
        )

    @property
    def cell(self) -> tuple[str, str, int, int]:
        """A new measurement of the same cell replaces an old one."""
        return (self.kind, *self.setting)

    @property
    def setting(self) -> tuple[str, int, int]:
        return (self.shape, self.tokens, self.sessions)

    def line(self) -> str:
        return (
            f"{self.kind:16} {self.shape}, {self.tokens} tokens, {self.sessions:4} sessions: "
            f"{self.turns_per_s:7.1f} turns/s, first token {self.first_token_p50:7.2f} ms, "
            f"turn {self.turn_p50:7.2f} ms, {self.server_cpu:5.2f} + {self.postgres_cpu:4.2f} ms of CPU, "
            f"{self.transactions:5.2f} transactions, load {self.load_busy:4.0%} of a core"
            + (f", {self.refused} messages refused" if self.refused else "")
        )


def quantile_ms(ordered: Sequence[float], share: float) -> float:
    """Of ascending seconds, by nearest rank. 0 of nothing."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


def overtaken(timeline: Iterable[Sequence[float]]) -> int:
    """Fairness as clients see it: how many turns of one session fitted between another's being asked for and its
    first token, at most. `timeline`: (session, sent, first token, ended) of each turn.

    With 0, nobody could even finish a turn meanwhile; a session that waits while another has turn after turn shows.
    """
    turns = [(int(session), sent, first, ended) for session, sent, first, ended in timeline]
    of_session: dict[int, list[tuple[float, float]]] = {}
    for session, sent, _, ended in sorted(turns, key=lambda turn: turn[1]):
        of_session.setdefault(session, []).append((sent, ended))
    most = 0
    while windows := _windows(of_session.values(), most + 1):
        begins = [sent for sent, _ in windows]
        earliest = list(accumulate(reversed([ended for _, ended in windows]), min))[::-1]
        places = ((bisect_left(begins, sent), first) for _, sent, first, _ in turns)
        if not any(place < len(windows) and earliest[place] <= first for place, first in places):
            break
        most += 1
    return most


def _windows(sessions: Iterable[Sequence[tuple[float, float]]], turns: int) -> list[tuple[float, float]]:
    """(begin of the first, end of the last) of as many turns of one session in a row, by begin. A turn's own session
    never counts against it: its next turn is asked for after this one has ended."""
    return sorted((own[i][0], own[i + turns - 1][1]) for own in sessions for i in range(len(own) - turns + 1))


COLUMNS: list[tuple[str, Callable[[Measurement], float], int, bool]] = [
    # title, figure, decimals, whether its spread is shown
    ("turns/s", lambda one: one.turns_per_s, 0, True),
    ("first token p50 ms", lambda one: one.first_token_p50, 2, True),
    ("p95", lambda one: one.first_token_p95, 2, False),
    ("p99", lambda one: one.first_token_p99, 2, False),
    ("turn p50 ms", lambda one: one.turn_p50, 2, True),
    ("p95", lambda one: one.turn_p95, 2, False),
    ("p99", lambda one: one.turn_p99, 2, False),
    ("gap p50 ms", lambda one: one.gap_p50, 2, False),
    ("p95", lambda one: one.gap_p95, 2, False),
    ("p99", lambda one: one.gap_p99, 2, False),
    ("server CPU ms", lambda one: one.server_cpu, 2, True),
    ("Postgres CPU ms", lambda one: one.postgres_cpu, 2, True),
    ("load's core %", lambda one: one.load_busy * 100, 0, False),
    ("refused", lambda one: one.refused, 0, False),
    ("overtaken", lambda one: one.overtaken, 0, False),
    ("transactions", lambda one: one.transactions, 2, False),
    ("WAL syncs", lambda one: one.wal_syncs, 2, False),
    ("WAL records", lambda one: one.wal_records, 1, False),
    ("WAL KB", lambda one: one.wal_bytes / 1024, 1, False),
    ("of it records", lambda one: one.wal_record_bytes / 1024, 1, False),
    ("wire KB", lambda one: one.wire_bytes / 1024, 1, False),
    ("frames", lambda one: one.frames, 1, False),
]


def by_setting(measurements: Sequence[Measurement]) -> Iterator[tuple[str, list[Measurement]]]:
    """(title, measurements) in the order in which they were made."""
    for setting in dict.fromkeys(one.setting for one in measurements):
        shape, tokens, sessions = setting
        yield (
            f"{sessions:,} session{'s' if sessions > 1 else ''}, {tokens} tokens, {shape}",
            [one for one in measurements if one.setting == setting],
        )


def table(measurements: Sequence[Measurement]) -> str:
    """Markdown: per setting one row a server, medians over its rounds (least to greatest), costs a turn; then the
    ratios."""
    blocks = []
    for title, found in by_setting(measurements):
        kinds = list(dict.fromkeys(one.kind for one in found))
        lines = [f"**{title}**", "", row("server", [title for title, _, _, _ in COLUMNS])]
        lines.append("|---" * (len(COLUMNS) + 1) + "|")
        for kind in kinds:
            rounds = [one for one in found if one.kind == kind]
            cells = [
                spread([figure(one) for one in rounds], decimals, shown=shown) for _, figure, decimals, shown in COLUMNS
            ]
            lines.append(row(kind, cells))
        blocks.append("\n".join([*lines, "", *_ratio_rows(kinds, found)]))
    return "\n\n".join(blocks)


RATIOS: list[tuple[str, Callable[[Measurement], float]]] = [
    ("turns/s", lambda one: one.turns_per_s),
    ("first token p50", lambda one: one.first_token_p50),
    ("first token p95", lambda one: one.first_token_p95),
]


def _ratio_rows(kinds: Sequence[str], found: Sequence[Measurement]) -> list[str]:
    baselines = [kind for kind in BASELINES if kind in kinds]
    titles = [f"{title} ÷ {kind}'s" for title, _ in RATIOS for kind in baselines]
    lines = [row("server", titles), "|---" * (len(titles) + 1) + "|"]
    for kind in kinds:
        cells = [spread(ratios(found, kind, base, figure), 2) for _, figure in RATIOS for base in baselines]
        lines.append(row(kind, cells))
    return lines if baselines else []


def ratios(
    found: Sequence[Measurement], kind: str, baseline: str, figure: Callable[[Measurement], float]
) -> list[float]:
    """One for each round in which both were measured: the machine's mood cancels out."""
    bases = {one.round: figure(one) for one in found if one.kind == baseline}
    return [figure(one) / bases[one.round] for one in found if one.kind == kind and bases.get(one.round)]


def spread(values: Sequence[float], decimals: int, *, shown: bool = True) -> str:
    """The median, and in brackets the least and the greatest."""
    if not values:
        return "–"
    middle = f"{median(values):.{decimals}f}"
    return f"{middle} ({min(values):.{decimals}f}–{max(values):.{decimals}f})" if shown and len(values) > 1 else middle


def row(name: str, cells: Sequence[str]) -> str:
    """Of a table in Markdown."""
    return f"| {name} | " + " | ".join(cells) + " |"
