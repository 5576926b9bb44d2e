"""A long run: `python -m tests.soak --minutes 30 --record --picture docs/pictures/soak.svg`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from tests.figures import Figure, commit, record
from tests.hostile.slope import slope
from tests.soak.picture import draw
from tests.soak.soak import Outcome, Soak


def main(arguments: Sequence[str] | None = None) -> int:
    """1: a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    parser.add_argument("--picture", type=Path, help="an SVG of latencies and memory over time")
    given = parser.parse_args(arguments)
    measured = commit()
    folder = Path(tempfile.mkdtemp(prefix="unbroken-soak-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user
    _say(f"seed {given.seed}, everything recorded in {folder}")
    soak = Soak(given.seed, folder, people=given.people, tell=_say)
    outcome = asyncio.run(soak.last(given.minutes * 60))
    figures = _figures(outcome, given.minutes)
    _say("\n".join(outcome.broken[:20]) or "nothing broken")
    _say("\n".join(f"{name}: {value}" for name, value in figures.items()))
    if given.picture:
        draw(outcome, given.picture)
    if given.record:
        record("soak", {"commit": measured, **figures})
    return int(bool(outcome.broken))


def _figures(outcome: Outcome, minutes: float) -> dict[str, Figure]:
    grown = slope(outcome.steady_bytes, warm_up=0.2)
    figures: dict[str, Figure] = {
        "minutes": minutes,
        "messages": outcome.messages,
        "threads": outcome.threads,
        "attempts": outcome.attempts,
        "faults": ", ".join(f"{kind} {times}" for kind, times in sorted(outcome.struck.items())),
        "violations": len(outcome.broken),
    }
    for name in ("accepted", "first_text", "end"):
        times = [value for one in outcome.latencies if (value := getattr(one, f"{name}_s")) is not None]
        steps = quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
        figures |= {f"{name}_p50_ms": round(steps[49] * 1000, 1), f"{name}_p99_ms": round(steps[98] * 1000, 1)}
    return figures | {
        "resident_last_mib": round(outcome.steady_bytes[-1][1] / 2**20, 1),
        "slope_kib_per_min": round(grown.value * 60 / 1024, 2),
        "slope_low": round(grown.low * 60 / 1024, 2),
        "slope_high": round(grown.high * 60 / 1024, 2),
    }


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
