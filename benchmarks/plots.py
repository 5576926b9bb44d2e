"""Bars with their spread, as SVG: text, so that a change of figures can be read in a diff."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from statistics import median

from benchmarks.report import Measurement, by_setting

PLOTS: dict[str, tuple[str, Callable[[Measurement], float]]] = {
    "turns": ("turns a second", lambda one: one.turns_per_s),
    "first-token": ("first token, p50, ms", lambda one: one.first_token_p50),
    "first-token-p95": ("first token, p95, ms", lambda one: one.first_token_p95),
    "turn-p95": ("whole turn, p95, ms", lambda one: one.turn_p95),
    "server-cpu": ("the server's CPU a turn, ms", lambda one: one.server_cpu),
    "turn-p99": ("whole turn, p99, ms", lambda one: one.turn_p99),
    "postgres-cpu": ("PostgreSQL's CPU a turn, ms", lambda one: one.postgres_cpu),
}
COLOURS = {"direct-memory": "#8d99ae", "direct-postgres": "#c1666b", "direct-exit": "#d4a24c", "unbroken": "#2a7f62"}

NAME, BAR, VALUE, ROW, TITLE = 130, 460, 150, 18, 30
"""Widths and heights in pixels."""


def plot(title: str, measurements: Sequence[Measurement], figure: Callable[[Measurement], float]) -> str:
    """A bar for each server, grouped by setting, each group on its own scale; the line is least to greatest."""
    parts: list[str] = [text(0, 18, title, bold=True)]
    y = TITLE
    for setting, found in by_setting(measurements):
        y += ROW
        parts.append(text(0, y, setting))
        greatest = max(figure(one) for one in found) or 1.0
        for kind in dict.fromkeys(one.kind for one in found):
            y += ROW
            parts.append(_bar(y, kind, [figure(one) for one in found if one.kind == kind], BAR / greatest))
        y += ROW // 2
    return drawing(NAME + BAR + VALUE, y + ROW, parts)


def drawing(width: int, height: int, parts: Sequence[str]) -> str:
    """A whole file."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12"><rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bar(y: int, kind: str, values: Sequence[float], scale: float) -> str:
    middle = median(values)
    least, greatest = (NAME + max(0.0, value) * scale for value in (min(values), max(values)))
    return (
        text(10, y, kind)
        + f'<rect x="{NAME}" y="{y - 11}" width="{max(0.0, middle) * scale:.1f}" height="13" fill="{COLOURS[kind]}"/>'
        + f'<path d="M{least:.1f} {y - 4.5}H{greatest:.1f}" stroke="black"/>'
        + text(NAME + BAR + 8, y, f"{middle:.1f} ({min(values):.1f}–{max(values):.1f})")
    )


def text(x: int, y: int, words: str, *, bold: bool = False, colour: str = "black") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{colour}"{weight}>{escape(words)}</text>'
