"""A long run: `python -m tests.replicas --minutes 20 --bus nats --record`. Ctrl-C ends it early, with its figures."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import uvloop

from benchmarks.machine import open_as_many_sockets_as_allowed
from tests.figures import commit, record
from tests.replicas.long_run import LongRun, Outcome, figures
from tests.replicas.people import Habits
from tests.replicas.place import Bus


def main(arguments: Sequence[str] | None = None) -> int:
    """1: a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.replicas", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--bus", choices=get_args(Bus), default="nats", help="cut: a broker that nobody ever reaches")
    parser.add_argument("--people", type=int, default=300, help="conversations side by side (%(default)s)")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--pause", type=float, nargs=2, default=Habits().pause_s, help="s between two messages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    given = parser.parse_args(arguments)
    open_as_many_sockets_as_allowed()
    measured, folder = commit(), Path(tempfile.mkdtemp(prefix="unbroken-replicas-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user
    say(f"seed {given.seed}, {given.bus}, everything recorded in {folder}")
    habits = Habits(pause_s=tuple(given.pause))
    outcome = uvloop.run(_run(given, folder, habits))
    found = figures(outcome, given.bus, given.replicas, given.people)
    say("\n".join(outcome.verdict.broken[:20]) or "nothing broken")
    say("\n".join(f"{name}: {value}" for name, value in found.items()))
    if given.record:
        record("replicas", {"commit": measured, **found})
    return int(bool(outcome.verdict.broken))


async def _run(given: argparse.Namespace, folder: Path, habits: Habits) -> Outcome:
    run = LongRun(
        given.seed,
        folder,
        people=given.people,
        replicas=given.replicas,
        bus=given.bus,
        habits=habits,
        tell=say,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, run.over.set)
    return await run.last(given.minutes * 60)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
