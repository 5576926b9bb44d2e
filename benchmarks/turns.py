"""Part `turns`: every server under the same load, from one session to a thousand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from benchmarks.report import Measurement
from benchmarks.rows_written import bytes_of_rows
from benchmarks.runs import Place, Run, Setting, run

TURNS: Final = {1: 200, 10: 50, 100: 10, 1000: 3}
TURNS_STREAMING: Final = {1: 8, 10: 6, 100: 5, 1000: 3}
"""Of each session, so that a run takes a few seconds, and half a minute with a thousand sessions."""
SOME_TURNS: Final = 5
IDLE_LIMIT_S: Final = 60.0

T = TypeVar("T")


def settings(options: argparse.Namespace) -> Iterable[Setting]:
    for shape in options.shapes:
        for tokens in options.tokens:
            for sessions in options.sessions:
                usual = TURNS_STREAMING if shape == "streaming" else TURNS
                yield Setting(shape, tokens, sessions, options.turns or usual.get(sessions, SOME_TURNS))


async def measure(options: argparse.Namespace, place: Place, into: list[Measurement]) -> None:
    """Raises RuntimeError if a server cannot be run at all."""
    for kind in options.servers:  # makes its tables, and compiles what Python has not compiled yet
        await run(kind, Setting("no delay", 8, 1, 1), place)
    for setting in settings(options):
        await _rounds(options, setting, place, into)


async def _rounds(options: argparse.Namespace, setting: Setting, place: Place, into: list[Measurement]) -> None:
    """Every round of a setting. How much costs without a turn is found out once, by a run as long as the first one."""
    idle: dict[str, Run] = {}
    for number in range(1, options.rounds + 1):
        for kind in turned(options.servers, number):
            with place.going_on():
                found = await run(kind, setting, place)
                if kind not in idle:
                    idle_s = min(IDLE_LIMIT_S, float(found.figures["took_s"]))
                    idle[kind] = await run(kind, setting, place, idle_s=idle_s)
                rows = await bytes_of_rows(place.database_urls[kind], place.programs) if kind == "unbroken" else 0.0
                into.append(Measurement.of(kind, number, setting, found, idle[kind], rows_bytes=rows))
                print(f"turns, round {number}/{options.rounds}  {into[-1].line()}", file=sys.stderr, flush=True)


def turned(order: Sequence[T], number: int) -> list[T]:
    """Each round begins with another one, so that none always runs on a machine that the same one has warmed."""
    begin = number % len(order)
    return [*order[begin:], *order[:begin]]
