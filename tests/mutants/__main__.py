"""Seed each bug of the catalogue into a copy of the tree, and see who notices: `python -m tests.mutants --record`.

What a layer said is kept in .mutants/, so that a second call goes on. A first look at all of them, and then the rest:

python -m tests.mutants --seeds 500 --layers simulation
python -m tests.mutants
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from tests.figures import commit, record
from tests.mutants.catalogue import ALL
from tests.mutants.layers import LAYERS, layers_of
from tests.mutants.mutant import Mutant
from tests.mutants.run import Answer, Copies, ask
from tests.mutants.tree import ROOT, copied
from tests.mutants.verdicts import document, figures, has_faced, keep, kept, line, verdict

DOCUMENT = ROOT / "docs" / "mutants.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """1: one survived, or was not judged by all its layers."""
    given = _options(arguments)
    given.state.mkdir(exist_ok=True)
    answers = given.state / "answers.jsonl"
    chosen = [mutant for mutant in ALL if not given.only or mutant.name in given.only]
    if not given.told:
        _judge(chosen, answers, given)
    known = kept(answers)
    verdicts = [verdict(mutant, known.get(mutant.name, {})) for mutant in chosen]
    if given.told:
        print("\n".join(map(line, verdicts)))
    told = figures(verdicts)
    print(told)
    if given.document:
        DOCUMENT.write_text(document(verdicts), "utf-8")
    if given.record:
        record("mutants", told)
    return int(any(each.killed is None and not each.mutant.equivalent for each in verdicts))


def _judge(chosen: Sequence[Mutant], answers: Path, given: argparse.Namespace) -> None:
    with ExitStack() as stack:
        clean = cache(lambda: stack.enter_context(copied()))
        for mutant in chosen:
            known = {} if given.again else kept(answers).get(mutant.name, {})
            for answer in _asked(mutant, known, given, clean):
                keep(answers, answer)
            print(line(verdict(mutant, kept(answers).get(mutant.name, {}))), flush=True)


def _asked(
    mutant: Mutant, known: dict[str, Answer], given: argparse.Namespace, clean_copy: Callable[[], Path]
) -> Iterator[Answer]:
    """Layer by layer, until one notices."""
    layers = [layer for layer in layers_of(mutant) if not given.layers or layer.name in given.layers]
    if any(answer.noticed for name, answer in known.items() if not given.layers or name in given.layers):
        return
    with ExitStack() as stack:
        copies = None
        for layer in layers:
            before = known.get(layer.name)
            tried = before.seeds if before is not None else 0
            if has_faced(layer, before) or (layer.seeds and tried >= given.seeds):
                continue
            copies = copies or Copies(stack.enter_context(copied(mutant)), clean_copy)
            answer = ask(mutant.name, layer, copies, seeds=given.seeds, tried=tried)
            yield replace(answer, commit=commit())
            if answer.noticed:
                return


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="these mutants")
    parser.add_argument(
        "--layers",
        nargs="*",
        default=[],
        metavar="LAYER",
        choices=[*LAYERS],
        help="of those it has to face, only these",
    )
    parser.add_argument("--seeds", type=int, default=10**9, help="at most so many of a simulation, for now")
    parser.add_argument("--again", action="store_true", help="whatever was found before")
    parser.add_argument("--told", action="store_true", help="say what was found, and judge nothing")
    parser.add_argument("--state", type=Path, default=ROOT / ".mutants", help="where answers are kept")
    parser.add_argument("--document", action="store_true", help="write docs/mutants.md")
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
