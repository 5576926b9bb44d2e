"""Seeds on the command line.

python -m tests.simulation --seeds 2000                  the first 2,000; ends with 1 at the first violation
python -m tests.simulation --from-seed 5000 --seeds 100  others
python -m tests.simulation --seed 17                     one, with everything that its clients were told
python -m tests.simulation --kept                        those that once found something
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.figures import commit, record
from tests.simulation.volume import Sum, encoded, possible_cells, run, say_to_stderr, told
from tests.simulation.world import simulate

KEPT = Path(__file__).parent / "kept.txt"


def main() -> int:
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of a set of texts would otherwise differ from run to run.
        command = [sys.executable, "-W", "ignore", "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    if options.seed is not None:
        return _one(options.seed, real=options.real)
    if options.kept:
        return _kept()
    measured, began = commit(), time.monotonic()
    total = run(
        range(options.from_seed, options.from_seed + options.seeds),
        processes=options.processes,
        real=options.real,
        twice=options.twice,
        keep_going=options.keep_going,
        say=say_to_stderr if sys.stderr.isatty() or not options.quiet else lambda _: None,
        state=lambda so_far: options.state.write_bytes(encoded(so_far)) if options.state else None,
    )
    seconds = time.monotonic() - began
    print("\n" + told(total, seconds))
    for failure in total.failures:
        print(f"again: python -m tests.simulation --seed {failure.seed}{' --real' if options.real else ''}")
    if options.record:
        _record(options, total, seconds, measured)
    return 1 if total.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many")
    parser.add_argument("--from-seed", type=int, default=0, help="the first one")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="LangGraph itself in the place of the planned agent")
    parser.add_argument("--twice", type=int, default=0, metavar="N", help="run each N-th seed twice and compare")
    parser.add_argument("--keep-going", action="store_true", help="do not end at the first violation")
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    parser.add_argument("--state", type=Path, help="a file for the sum so far")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--seed", type=int, help="this one alone, in full")
    parser.add_argument("--kept", action="store_true", help="those of kept.txt")
    return parser.parse_args()


def _one(seed: int, *, real: bool) -> int:
    outcome = simulate(seed, real=real)
    for fault in outcome.history.faults:
        print(f"{fault.at:8.3f}  {fault.kind} {fault.replica}, over at {fault.until:.3f}")
    for socket in outcome.history.sockets:
        print(f"{socket.name}  {socket.query}")
        for line in socket.lines:
            print(f"{line.at:8.3f}    {line.kind} {line.frame or line.code or ''}")
    print(f"{outcome.events} events, {outcome.attempts} attempts, {outcome.steps} steps: {outcome.digest}")
    print("\n".join(map(str, outcome.violations)) or "no violation")
    return 1 if outcome.violations else 0


def _kept() -> int:
    """Each line: a seed, `planned` or `real`, and what it found."""
    failed = 0
    for line in KEPT.read_text("utf-8").splitlines():
        seed, agent, _ = line.split(maxsplit=2)
        for violation in simulate(int(seed), real=agent == "real").violations[:3]:
            failed = 1
            print(f"seed {seed} ({agent}): {violation}")
    return failed


def _record(options: argparse.Namespace, total: Sum, seconds: float, measured: str) -> None:
    record(
        "simulation with LangGraph" if options.real else "simulation",
        {
            "commit": measured,
            "from_seed": options.from_seed,
            "seeds": total.seeds,
            "run_twice": total.twice,
            "events": total.events,
            "attempts": total.attempts,
            "faults": total.faults,
            "fewest_faults_a_seed": total.fewest_faults,
            "fewest_in_a_cell": min(total.met.get(name, 0) for name in possible_cells()),
            "violations": len(total.failures),
            "seconds": round(seconds),
            "met": dict(sorted(total.met.items())),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
