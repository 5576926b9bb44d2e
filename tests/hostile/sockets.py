"""Half an hour of abuse over real sockets, against a server with its embedded PostgreSQL.

python -m tests.hostile.sockets --minutes 30 --record
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from tests.end_to_end.server import Server
from tests.figures import Figure, commit, record
from tests.hostile.siege import AGENTS, STALL_S, Siege
from tests.hostile.slope import slope

HOLD_S = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the server has weathered it. 1: it has not; the complaints are on the screen."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.sockets", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-memory", action="store_true", help="without a database: what is said stays in memory")
    parser.add_argument("--record", action="store_true", help="keep the figures in docs/reliability.jsonl")
    given = parser.parse_args(arguments)
    measured = commit()
    with tempfile.TemporaryDirectory(prefix="unbroken-hostile-") as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL runs as another user
        store = ["--in-memory"] if given.in_memory else []
        limits = {
            "UNBROKEN_READER_STALL_S": f"{STALL_S}",
            "UNBROKEN_LOG_LEVEL": "warning",
            "UNBROKEN_HEAD_CACHE_BYTES": "1000000",  # is full soon, so that it does not look like a leak
        }
        with Server(Path(folder), arguments=[*AGENTS, *store], environment=limits) as server:
            siege = Siege(server, seed=given.seed, hold_s=HOLD_S)
            asyncio.run(siege.last(given.minutes * 60, _tell))
            complaints = siege.complaints()
    _say("\n".join(complaints) or "nothing unhandled, nothing odd")
    figures = _figures(siege, given.minutes, measured)
    _say("\n".join(f"{name}: {value}" for name, value in figures.items()))
    _say("\n".join(f"{attack} ended {end}: {n:,}" for (attack, end), n in sorted(siege.ends.items(), key=str)))
    if given.record and not complaints:
        record("hostile sockets", figures)
    return int(bool(complaints))


def _tell(siege: Siege) -> None:
    second, resident = siege.resident[-1]
    _say(
        f"{second:>6.0f} s  {siege.attacks:>7,} attacks  {len(siege.latencies_s):>6,} answers  "
        f"{siege.most_sockets:>4} sockets at most  {resident / 2**20:.1f} MiB  {len(siege.odd)} odd {siege.odd[-1:]}"
    )


def _figures(siege: Siege, minutes: float, measured: str) -> dict[str, Figure]:
    grown = slope(siege.resident)
    steps = quantiles(siege.latencies_s, n=100) if len(siege.latencies_s) > 1 else [0.0] * 99
    per_minute = 60 / 1024
    first, last = siege.in_use
    return {
        "commit": measured,
        "minutes": minutes,
        "attacks": siege.attacks,
        "most_sockets": siege.most_sockets,
        "answers_beside": len(siege.latencies_s),
        "answer_p50_ms": round(steps[49] * 1000, 1),
        "answer_p99_ms": round(steps[98] * 1000, 1),
        "answer_max_ms": round(max(siege.latencies_s, default=0.0) * 1000, 1),
        "resident_first_mib": round(siege.resident[0][1] / 2**20, 1),
        "resident_last_mib": round(siege.resident[-1][1] / 2**20, 1),
        "slope_kib_per_min": round(grown.value * per_minute, 2),
        "slope_low": round(grown.low * per_minute, 2),
        "slope_high": round(grown.high * per_minute, 2),
        "flat": grown.flat,
        "in_use_grown_c_kib": round((last.c_bytes - first.c_bytes) / 1024, 1),
        "in_use_grown_blocks": round(last.blocks - first.blocks),
        "attacks_between": last.attacks - first.attacks,
        "held_before": str(siege.before),
        "held_after": str(siege.after),
    }


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is a command


if __name__ == "__main__":
    sys.exit(main())
