"""What can be chosen. `make bench` measures the most important cells in some minutes; `--full` measures them all."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from benchmarks.replicas import BUSES
from benchmarks.runs import SHAPES
from benchmarks.servers import KINDS

PARTS: Final = {
    "turns": "every server under the same load",
    "long": "one conversation of 500 turns",
    "idle": "a thousand and five thousand sockets that say nothing",
    "start": "from start to ready, warm",
    "replicas": "one, two and four replicas over one PostgreSQL, on the same cores",
    "hop": "a session watched live at its owner and at another replica",
}
ROUNDS, ROUNDS_FULL = 2, 5
SMALL: Final = {"parts": ["turns", "start"], "sessions": [1, 100], "tokens": [64], "shapes": ["no delay", "streaming"]}
FULL: Final = {
    "parts": list(PARTS),
    "sessions": [1, 10, 100, 1000],
    "tokens": [64, 8],
    "shapes": list(SHAPES),
}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    told = "; ".join(f"{part}: {what}" for part, what in PARTS.items())
    parser.add_argument(
        "parts", nargs="*", choices=[[], *PARTS], metavar="part", help=f"{told}; absent: turns and start"
    )
    parser.add_argument(
        "--full", action="store_true", help="all parts, cells and five rounds, where nothing else is said"
    )
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds ({ROUNDS}; full: {ROUNDS_FULL})")
    parser.add_argument("--sessions", type=int, nargs="+", help="turns: side by side (1 100; full: 1 10 100 1000)")
    parser.add_argument("--tokens", type=int, nargs="+", help="turns: of an answer (64; full: 64 8)")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, help="turns: pauses of the model")
    parser.add_argument("--turns", type=int, help="turns, replicas, hop: of each session; absent: some seconds of them")
    parser.add_argument("--servers", nargs="+", choices=KINDS, default=list(KINDS), help="turns, long: which")
    parser.add_argument("--long-tokens", type=int, nargs="+", default=[64], help="long: of an answer (%(default)s)")
    parser.add_argument("--long-turns", type=int, default=500, help="long: how many (%(default)s)")
    parser.add_argument("--idle", type=int, nargs="+", default=[1000, 5000], help="idle: sockets (%(default)s)")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4], help="replicas: how many (%(default)s)")
    parser.add_argument("--buses", nargs="+", choices=BUSES, default=list(BUSES), help="replicas: between them")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for figures and plots")
    parser.add_argument("--pg-bin", type=Path, help="PostgreSQL's programs; absent: the bundled version")
    parser.add_argument("--no-pin", action="store_true", help="let servers and the rest share all cores")
    chosen = parser.parse_args(given)
    chosen.rounds = chosen.rounds or (ROUNDS_FULL if chosen.full else ROUNDS)
    for name, value in (FULL if chosen.full else SMALL).items():
        setattr(chosen, name, getattr(chosen, name) or value)
    return chosen
