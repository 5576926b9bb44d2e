"""Seed each bug of the catalogue into a copy of the tree, and see who notices: `python -m tests.mutants --record`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from tests.figures import record
from tests.mutants.catalogue import ALL
from tests.mutants.run import ROOT, Verdict, judge


def main(arguments: Sequence[str] | None = None) -> int:
    """1: one survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--layers", nargs="*", default=[], metavar="LAYER", help="instead of those it has to face")
    parser.add_argument("--state", type=Path, default=ROOT / ".mutants", help="where verdicts are kept")
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    given = parser.parse_args(arguments)
    given.state.mkdir(exist_ok=True)
    kept = given.state / "verdicts.jsonl"
    known = _known(kept)
    verdicts = []
    for mutant in ALL:
        if given.only and mutant.name not in given.only:
            continue
        verdict = known.get(mutant.name)
        if verdict is None or mutant.name in given.only:
            verdict = judge(mutant, given.layers)
            with kept.open("ab") as file:
                file.write(msgspec.json.encode(verdict) + b"\n")
        verdicts.append(verdict)
        print(_line(verdict), flush=True)
    _summarise(verdicts, keep=given.record)
    return int(any(not verdict.killed_by for verdict in verdicts))


def _known(kept: Path) -> dict[str, Verdict]:
    if not kept.exists():
        return {}
    verdicts = [msgspec.json.decode(line, type=Verdict) for line in kept.read_bytes().splitlines()]
    return {verdict.mutant: verdict for verdict in verdicts}


def _line(verdict: Verdict) -> str:
    killed = f"killed by {verdict.killed_by}" if verdict.killed_by else "SURVIVED"
    seeds = f" after {verdict.seeds:,} seeds" if verdict.seeds else ""
    return f"{verdict.mutant:55} {killed}{seeds}, {verdict.seconds:.0f} s  {verdict.how}"


def _summarise(verdicts: Sequence[Verdict], *, keep: bool) -> None:
    survived = [verdict.mutant for verdict in verdicts if not verdict.killed_by]
    seeds = [verdict.seeds for verdict in verdicts if verdict.seeds]
    by_layer = {name: sum(v.killed_by == name for v in verdicts) for name in sorted({v.killed_by for v in verdicts})}
    layers = ", ".join(f"{name} {count}" for name, count in by_layer.items() if name)
    print(f"{len(verdicts)} mutants, {len(verdicts) - len(survived)} killed ({layers}); survived: {survived or 'none'}")
    if keep:
        record(
            "mutants",
            {
                "mutants": len(verdicts),
                "killed": len(verdicts) - len(survived),
                "by_layer": layers,
                "median_seeds": int(median(seeds)) if seeds else 0,
                "survived": ", ".join(survived),
            },
        )


if __name__ == "__main__":
    sys.exit(main())
