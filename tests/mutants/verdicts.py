"""What became of each mutant, from what its layers said, and how it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from msgspec import Struct

from tests.figures import Figure
from tests.mutants.layers import Layer, layers_of
from tests.mutants.mutant import Mutant
from tests.mutants.run import Answer

HEAD: Final = """\
# The seeded bugs, one by one

Written by `python -m tests.mutants --document`: every bug of the catalogue (`tests/mutants/`), which layer noticed it
first, and after how many seeds, counted from seed 0, or how many were tried in vain where a test was asked next. No
test names a bug; each kill was red again by itself, and green over a copy without the bug.
"""


class Verdict(Struct, frozen=True):
    mutant: Mutant
    answers: tuple[Answer, ...]
    """Of the layers that were asked, in the order in which they are to be."""
    unasked: tuple[str, ...]
    """Layers that it has not faced, or not with all seeds."""

    @property
    def killed(self) -> Answer | None:
        return next((answer for answer in self.answers if answer.noticed), None)

    @property
    def open(self) -> bool:
        return self.killed is None and bool(self.unasked)

    @property
    def seeds(self) -> int | None:
        """Of the planned simulation; None: it has not noticed."""
        return next((a.seeds for a in self.answers if a.noticed and a.layer == "simulation"), None)


def verdict(mutant: Mutant, answers: Mapping[str, Answer]) -> Verdict:
    """`answers`: by layer."""
    layers = layers_of(mutant)
    asked = tuple(answers[layer.name] for layer in layers if layer.name in answers)
    unasked = tuple(layer.name for layer in layers if not has_faced(layer, answers.get(layer.name)))
    return Verdict(mutant, asked, unasked)


def has_faced(layer: Layer, answer: Answer | None) -> bool:
    return answer is not None and (answer.noticed or answer.seeds >= layer.seeds)


def kept(path: Path) -> dict[str, dict[str, Answer]]:
    """By mutant and layer; what was said last counts."""
    known: dict[str, dict[str, Answer]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        answer = msgspec.json.decode(line, type=Answer)
        known.setdefault(answer.mutant, {})[answer.layer] = answer
    return known


def keep(path: Path, answer: Answer) -> None:
    with path.open("ab") as file:
        file.write(msgspec.json.encode(answer) + b"\n")


def line(verdict: Verdict) -> str:
    killed = verdict.killed
    if killed is None:
        what = f"not judged yet by {', '.join(verdict.unasked)}" if verdict.open else "SURVIVED"
    else:
        seeds = f" after {killed.seeds:,} seeds" if killed.seeds else ""
        what = f"killed by {killed.layer}{seeds}, {killed.seconds:.0f} s  {killed.how}"
    return f"{verdict.mutant.name:55} {what}"


def figures(verdicts: Sequence[Verdict]) -> dict[str, Figure]:
    killed = [verdict.killed for verdict in verdicts if verdict.killed is not None]
    layers = dict.fromkeys(layer.name for verdict in verdicts for layer in layers_of(verdict.mutant))
    by_layer = {name: sum(answer.layer == name for answer in killed) for name in layers}
    seeds = [verdict.seeds for verdict in verdicts if verdict.seeds is not None]
    return {
        "mutants": len(verdicts),
        "killed": len(killed),
        "by_layer": ", ".join(f"{name} {count}" for name, count in by_layer.items() if count),
        "killed_by_seeds": len(seeds),
        "median_seeds": int(median(seeds)) if seeds else 0,
        "most_seeds": max(seeds, default=0),
        "survived": ", ".join(v.mutant.name for v in verdicts if v.killed is None and not v.open),
        "not_judged": ", ".join(v.mutant.name for v in verdicts if v.open),
    }


def document(verdicts: Sequence[Verdict]) -> str:
    return "\n".join([HEAD, *_table(verdicts), ""])


def _table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    told = figures(verdicts)
    yield (
        f"{told['killed']} of {told['mutants']} killed, by {told['by_layer']}. The simulation killed "
        f"{told['killed_by_seeds']}, in the median after {told['median_seeds']} seeds, at most after "
        f"{told['most_seeds']:,}.\n"
    )
    yield "| bug | what | seen in | noticed by | seeds |"
    yield "| --- | --- | --- | --- | --- |"
    for verdict in verdicts:
        mutant, killed = verdict.mutant, verdict.killed
        by = killed.layer if killed else "not judged yet" if verdict.open else mutant.equivalent or "nobody"
        yield f"| `{mutant.name}` | {mutant.what} | {mutant.seen_in} | {by} | {_seeds(verdict)} |"


def _seeds(verdict: Verdict) -> str:
    """How many it took, or how many noticed nothing before another layer did."""
    tried = [answer for answer in verdict.answers if answer.seeds]
    took = next((answer for answer in tried if answer.noticed), None)
    return f"{took.seeds:,}" if took else f"more than {tried[0].seeds:,}" if tried else ""
