"""Many seeds: their progress, their sum, and what is kept of a long run."""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import Any, Final

import msgspec
from msgspec import Struct

from tests.simulation.nemesis import KINDS
from tests.simulation.plans import TROUBLES
from tests.simulation.states import STATES
from tests.simulation.world import Outcome, simulate

CHUNK = 100
"""Seeds that a process is made for."""
FORKED: Final = get_context("fork")
ENOUGH = 100
"""Times that each fault is to meet each state of a turn."""

Say = Callable[[str], None]


class Failure(Struct, frozen=True):
    seed: int
    what: tuple[str, ...]


class Sum(Struct):
    """What some seeds came to."""

    seeds: int = 0
    twice: int = 0
    """Seeds that were run a second time, and gave the same."""
    events: int = 0
    attempts: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    fewest_faults: int = 10**9
    met: dict[str, int] = {}
    """`fault × state` → how often."""
    failures: list[Failure] = []

    def add(self, other: Sum) -> None:
        for name in ("seeds", "twice", "events", "attempts", "steps", "virtual_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.fewest_faults = min(self.fewest_faults, other.fewest_faults)
        self.met = dict(Counter(self.met) + Counter(other.met))
        self.failures = [*self.failures, *other.failures]

    @property
    def faults(self) -> int:
        return sum(self.met.values())


def cell(kind: str, state: str) -> str:
    return f"{kind} × {state}"


def possible_cells() -> list[str]:
    """Everything that may be met. A model's trouble meets only turns that it works on."""
    faults = [cell(kind, state) for kind in dict.fromkeys(KINDS) for state in STATES]
    return faults + [cell(f"model_{kind}", state) for kind in TROUBLES for state in ("thinking", "speaking")]


def run_chunk(seeds: Sequence[int], *, real: bool, twice: int) -> Sum:
    """One process's share. `twice`: each so-many-th seed is run a second time; 0: none."""
    found = Sum()
    for seed in seeds:
        outcome = simulate(seed, real=real)
        what = [str(violation) for violation in outcome.violations]
        if twice and seed % twice == 0:
            again = simulate(seed, real=real)
            found.twice += 1
            if again.digest != outcome.digest:
                what.append(f"the same seed gave {outcome.digest} and {again.digest}")
        found.add(_sum_of(outcome))
        if what:
            found.failures.append(Failure(seed, tuple(what)))
    return found


def run(
    seeds: range, *, processes: int, real: bool, twice: int, keep_going: bool, say: Say, state: Callable[[Sum], None]
) -> Sum:
    """All of them, in chunks. Ends at the first failure, unless it is to go on. `state` is told of every step."""
    total, began = Sum(), time.monotonic()
    for part in _parts(seeds, processes, real, twice):
        total.add(part)
        state(total)
        for failure in part.failures:
            say(f"\nseed {failure.seed}:\n" + "\n".join(failure.what[:5]))
        if part.failures and not keep_going:
            break
        pace = total.seeds / (time.monotonic() - began)
        left_min = (len(seeds) - total.seeds) / pace / 60
        say(f"\r{total.seeds:,} of {len(seeds):,} seeds, {pace:.0f} a second, {left_min:.0f} min left  ")
    return total


def _parts(seeds: range, processes: int, real: bool, twice: int) -> Iterator[Sum]:
    """Each chunk in a process forked for it: what its worlds leave behind goes with it, and is never collected."""
    chunks = (seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK))
    _warm_up(real=real)
    running: dict[Any, tuple[range, Any]] = {}

    def begin(chunk: range) -> None:
        theirs, ours = FORKED.Pipe()
        process = FORKED.Process(target=_work, args=(theirs, chunk, real, twice), daemon=True)
        process.start()
        theirs.close()
        running[ours] = chunk, process

    for chunk in islice(chunks, processes):
        begin(chunk)
    while running:
        ended: list[Any] = wait(list(running))
        for pipe in ended:
            chunk, process = running.pop(pipe)
            try:
                yield msgspec.json.decode(pipe.recv_bytes(), type=Sum)
            except EOFError:
                raise RuntimeError(f"the process of the seeds {chunk} ended without a result") from None
            process.join()
            for following in islice(chunks, 1):
                begin(following)


def _warm_up(*, real: bool) -> None:
    """Whatever is made at its first use is made before the first fork, and never looked through again."""
    simulate(0, real=real)
    gc.collect()
    gc.freeze()


def _work(pipe: Any, seeds: Sequence[int], real: bool, twice: int) -> None:
    pipe.send_bytes(encoded(run_chunk(seeds, real=real, twice=twice)))


def _sum_of(outcome: Outcome) -> Sum:
    met = {cell(kind, state): times for (kind, state), times in outcome.struck.items()}
    return Sum(1, 0, outcome.events, outcome.attempts, outcome.steps, outcome.seconds, outcome.struck.total(), met)


def told(total: Sum, seconds: float) -> str:
    """The summary of a run, for people."""
    missed = {name: total.met.get(name, 0) for name in possible_cells() if total.met.get(name, 0) < ENOUGH}
    by_fault = Counter[str]()
    for name, times in total.met.items():
        by_fault[name.partition(" × ")[0]] += times
    lines = [
        f"seeds tried: {total.seeds:,}, {total.twice:,} of them twice, in {seconds:,.0f} s",
        f"{total.events:,} events, {total.attempts:,} attempts, {total.steps:,} steps, {total.virtual_s:,.0f} s",
        f"{total.faults:,} faults, at least {total.fewest_faults} a seed: "
        + ", ".join(f"{kind} {times:,}" for kind, times in by_fault.most_common()),
        f"met fewer than {ENOUGH} times: " + (", ".join(f"{n} ({t})" for n, t in missed.items()) or "none"),
        f"violations: {len(total.failures)}" + "".join(f"\n  seed {f.seed}: {f.what[0][:200]}" for f in total.failures),
    ]
    return "\n".join(lines)


def encoded(total: Sum) -> bytes:
    return msgspec.json.encode(total)


def say_to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
