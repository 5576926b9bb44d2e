"""Who notices a bug: each layer is asked over a copy of the tree that has it.

A layer has noticed if what was red is red again, alone, and green over a copy without any bug. A test that does not
repeat itself has met a busy machine, and the layer is asked on without it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.mutants.layers import PYTEST, Layer
from tests.mutants.tree import red

AGAIN: Final = 3
AT_ONCE: Final = (100, 400, 500)
"""Seeds that one process is given: few at first, as most bugs are found by few."""


class Answer(Struct, frozen=True):
    """What one layer made of one mutant."""

    mutant: str
    layer: str
    noticed: bool
    how: str
    """What the layer said last, or `hung`; empty: nothing."""
    seeds: int
    """Tried: up to the first that noticed, or all. 0: a layer of tests."""
    seconds: float
    commit: str = ""


class Copies(Struct, frozen=True):
    bugged: Path
    clean: Callable[[], Path]
    """Made when it is first needed."""

    def told_apart_by(self, command: tuple[str, ...]) -> bool:
        """Red again with the bug, and green without it, as many times as it took to be red."""
        for times in range(1, AGAIN + 1):
            if red(self.bugged, command) is not None:
                return all(red(self.clean(), command) is None for _ in range(times))
        return False


def ask(mutant: str, layer: Layer, copies: Copies, *, seeds: int, tried: int = 0) -> Answer:
    """`seeds`: so many at most; `tried`: of them, those that have been tried before and found nothing."""
    began = time.monotonic()
    if layer.seeds:
        how, seeds = _by_seeds(layer, copies, tried, min(seeds, layer.seeds))
    else:
        how, seeds = _by_tests(layer, copies), 0
    return Answer(mutant, layer.name, bool(how), how, seeds, time.monotonic() - began)


def _by_seeds(layer: Layer, copies: Copies, tried: int, seeds: int) -> tuple[str, int]:
    """What was noticed, and how many seeds it took."""
    part = 0
    while tried < seeds:
        count = min(seeds - tried, AT_ONCE[min(part, len(AT_ONCE) - 1)])
        whole = _simulation(layer, "--from-seed", f"{tried}", "--seeds", f"{count}", "--quiet")
        said = red(copies.bugged, whole)
        if said is not None:
            found = [int(seed) for seed in re.findall(r"^  seed (\d+):", said, re.MULTILINE)]
            if found and copies.told_apart_by(_simulation(layer, "--seed", f"{min(found)}")):
                return _line_of(said, min(found)), min(found) + 1
            if copies.told_apart_by(whole):
                return _last_words(said), tried + count
        tried, part = tried + count, part + 1
    return "", tried


def _simulation(layer: Layer, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.simulation", *options, *(["--real"] if layer.real else []))


def _by_tests(layer: Layer, copies: Copies) -> str:
    for tests in layer.tests:
        by_chance: set[str] = set()
        while (said := red(copies.bugged, _pytest(*tests, *_without(by_chance)))) is not None:
            failed = re.findall(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", said, re.MULTILINE)
            alone = _pytest(*failed) if failed else _pytest(*tests, *_without(by_chance))
            if copies.told_apart_by(alone):
                return _last_words(said)
            if not failed or by_chance.issuperset(failed):
                break
            by_chance.update(failed)
    return ""


def _without(tests: Collection[str]) -> list[str]:
    return [f"--deselect={test}" for test in sorted(tests)]


def _pytest(*arguments: str) -> tuple[str, ...]:
    return (*PYTEST, *arguments)


def _line_of(said: str, seed: int) -> str:
    return next(line.strip() for line in said.splitlines() if line.startswith(f"  seed {seed}:"))[:300]


def _last_words(said: str) -> str:
    lines = [line for line in said.splitlines() if re.match(r"(FAILED|ERROR|  seed |seed \d+:|hung|E  )", line)]
    return (lines[-1] if lines else said.strip()[-200:])[:300]
