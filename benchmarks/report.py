"""From raw times to medians over rounds, and ratios within a round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any, Self

from benchmarks.measure import Costs

BASELINE = "direct-memory"


@dataclass
class Measurement:
    """One server, once. Times in milliseconds; costs a turn."""

    kind: str
    sessions: int
    turns: int
    tokens: int
    shape: str
    turns_per_s: float
    first_token_p50: float
    first_token_p95: float
    turn_p50: float
    turn_p95: float
    turn_p99: float
    gap_p99: float
    server_cpu: float
    postgres_cpu: float
    transactions: float
    wal_bytes: float
    wal_syncs: float
    wire_bytes: float

    @classmethod
    def of(
        cls, kind: str, sessions: int, turns: int, tokens: int, shape: str, figures: dict[str, Any], spent: Costs
    ) -> Self:
        count = sessions * turns
        if len(figures["turn_s"]) != count:
            raise RuntimeError(f"{kind}: {len(figures['turn_s'])} of {count} turns ended")
        return cls(
            kind=kind,
            sessions=sessions,
            turns=turns,
            tokens=tokens,
            shape=shape,
            turns_per_s=count / figures["took_s"],
            first_token_p50=quantile_ms(figures["first_token_s"], 0.5),
            first_token_p95=quantile_ms(figures["first_token_s"], 0.95),
            turn_p50=quantile_ms(figures["turn_s"], 0.5),
            turn_p95=quantile_ms(figures["turn_s"], 0.95),
            turn_p99=quantile_ms(figures["turn_s"], 0.99),
            gap_p99=quantile_ms(figures["gaps_s"], 0.99),
            server_cpu=spent.server_cpu_s / count * 1000,
            postgres_cpu=spent.postgres_cpu_s / count * 1000,
            transactions=spent.transactions / count,
            wal_bytes=spent.wal_bytes / count,
            wal_syncs=spent.wal_syncs / count,
            wire_bytes=figures["bytes"] / count,
        )

    @property
    def setting(self) -> tuple[str, int, int]:
        return (self.shape, self.tokens, self.sessions)

    def line(self) -> str:
        return (
            f"{self.kind:16} {self.shape}, {self.tokens} tokens, {self.sessions:4} sessions: "
            f"{self.turns_per_s:7.1f} turns/s, first token {self.first_token_p50:7.2f} ms, "
            f"turn {self.turn_p50:7.2f} ms, {self.server_cpu:5.2f} + {self.postgres_cpu:4.2f} ms of CPU, "
            f"{self.transactions:4.2f} transactions"
        )


def quantile_ms(values: Sequence[float], share: float) -> float:
    """By nearest rank. 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


COLUMNS: list[tuple[str, Callable[[Measurement], float], str]] = [
    ("turns/s", lambda one: one.turns_per_s, "{:.0f}"),
    ("first token p50 ms", lambda one: one.first_token_p50, "{:.2f}"),
    ("p95", lambda one: one.first_token_p95, "{:.2f}"),
    ("turn p50 ms", lambda one: one.turn_p50, "{:.2f}"),
    ("p95", lambda one: one.turn_p95, "{:.2f}"),
    ("p99", lambda one: one.turn_p99, "{:.2f}"),
    ("gap p99 ms", lambda one: one.gap_p99, "{:.2f}"),
    ("server CPU ms", lambda one: one.server_cpu, "{:.2f}"),
    ("Postgres CPU ms", lambda one: one.postgres_cpu, "{:.2f}"),
    ("transactions", lambda one: one.transactions, "{:.2f}"),
    ("WAL syncs", lambda one: one.wal_syncs, "{:.2f}"),
    ("WAL KB", lambda one: one.wal_bytes / 1024, "{:.1f}"),
    ("wire KB", lambda one: one.wire_bytes / 1024, "{:.1f}"),
]


def table(measurements: Sequence[Measurement]) -> str:
    """Markdown: per setting one row a server, medians over its rounds, and turns/s as a ratio to direct-memory's in
    the same round (median, least to greatest). Costs are per turn."""
    blocks = []
    for setting, found in groupby(sorted(measurements, key=lambda one: one.setting), key=lambda one: one.setting):
        shape, tokens, sessions = setting
        of_setting = list(found)
        names = [name for name, _, _ in COLUMNS]
        lines = [
            f"**{sessions} sessions, {tokens} tokens, {shape}**",
            "",
            "| server | " + " | ".join(names) + f" | turns/s ÷ {BASELINE} |",
            "|---" * (len(names) + 2) + "|",
        ]
        for kind in dict.fromkeys(one.kind for one in measurements):
            rounds = [one for one in of_setting if one.kind == kind]
            if rounds:
                cells = [form.format(median(figure(one) for one in rounds)) for _, figure, form in COLUMNS]
                lines.append(f"| {kind} | " + " | ".join(cells) + f" | {_ratio(rounds, of_setting)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _ratio(rounds: Sequence[Measurement], of_setting: Sequence[Measurement]) -> str:
    baseline = [one.turns_per_s for one in of_setting if one.kind == BASELINE]
    ratios = [one.turns_per_s / base for one, base in zip(rounds, baseline, strict=False)]
    if not ratios:
        return ""
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
