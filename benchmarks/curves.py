"""Lines over turns of a long conversation, as SVG, like the bars of `plots`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log10
from statistics import median
from typing import Final

from benchmarks.long import Window
from benchmarks.plots import COLOURS, drawing, text

CURVES: Final[dict[str, tuple[str, Callable[[Window], float]]]] = {
    "long-server-cpu": ("the server's CPU a turn, ms", lambda one: one.server_cpu),
    "long-first-token": ("first token, median, ms", lambda one: one.first_token),
    "long-wal": ("WAL a turn without whole pages, KB", lambda one: one.wal_record_bytes / 1024),
    "long-stored": ("rows of the conversation, KB stored", lambda one: one.stored_kb),
}
LEFT, TOP, WIDTH, HEIGHT, KEY, BELOW = 60, 40, 460, 240, 130, 40
"""In pixels."""


def curve(title: str, windows: Sequence[Window], figure: Callable[[Window], float]) -> str:
    """A line a server through its rounds' medians, on a logarithmic scale; upright lines are least to greatest."""
    values = [figure(one) for one in windows if figure(one) > 0]
    least, greatest = (min(values), max(values)) if values else (1.0, 1.0)
    low, high = log10(least) - 0.05, log10(greatest) + 0.05
    last = max((one.mark for one in windows), default=1)

    def x(mark: int) -> float:
        return LEFT + WIDTH * mark / last

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - (log10(max(value, least)) - low) / (high - low))

    parts = [text(0, 18, f"{title} (logarithmic)", bold=True), *_axes(windows, least, greatest, x, y)]
    for place, kind in enumerate(dict.fromkeys(one.kind for one in windows)):
        colour, found = COLOURS[kind], [one for one in windows if one.kind == kind]
        points = []
        for mark in dict.fromkeys(one.mark for one in found):
            of_mark = [figure(one) for one in found if one.mark == mark]
            points.append(f"{x(mark):.1f},{y(median(of_mark)):.1f}")
            upright = f"M{x(mark):.1f} {y(min(of_mark)):.1f}V{y(max(of_mark)):.1f}"
            parts.append(f'<path d="{upright}" stroke="{colour}"/>')
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(text(LEFT + WIDTH + 10, TOP + 18 * (place + 1), kind, colour=colour))
    return drawing(LEFT + WIDTH + KEY, TOP + HEIGHT + BELOW, parts)


def _axes(
    windows: Sequence[Window], least: float, greatest: float, x: Callable[[int], float], y: Callable[[float], float]
) -> list[str]:
    parts = [f'<path d="M{LEFT} {TOP}V{TOP + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="black"/>']
    marks = dict.fromkeys(one.mark for one in windows)
    values = dict.fromkeys((least, (least * greatest) ** 0.5, greatest))
    return [
        *parts,
        *(text(round(x(mark)) - 8, TOP + HEIGHT + 18, str(mark)) for mark in marks),
        text(LEFT + WIDTH + 24, TOP + HEIGHT + 18, "turn"),
        *(text(0, round(y(value)) + 4, f"{value:.3g}") for value in values),
    ]
