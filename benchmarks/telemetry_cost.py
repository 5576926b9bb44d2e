"""What telemetry costs: `python -m benchmarks.telemetry_cost`, interleaved rounds of the same server.

off, again     nothing is set: the same build twice, so that one knows what a difference means (A/A)
sampled        one story in ten, and all metrics, to a collector on this machine
full           every story
without        a checkout from before the wrappers, if `--without` names one with a `.venv` of its own
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import rotel  # type: ignore[import-untyped]

from benchmarks.machine import cores, databases, open_folder, pin
from benchmarks.measure import cpu_s
from benchmarks.report import quantile_ms
from benchmarks.runs import Setting, connected
from benchmarks.servers import server
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

COLLECTOR = Path(rotel.__file__).with_name("rotel-agent")
COLLECTOR_READY_S = 10.0
FIGURES = ("turns_per_s", "cpu_ms", "first_token_ms", "turn_ms")


@dataclass(frozen=True)
class Figures:
    way: str
    round: int
    turns_per_s: float
    cpu_ms: float
    """Of the server alone, a turn."""
    first_token_ms: float
    """The median, like the next."""
    turn_ms: float


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (%(default)s)")
    parser.add_argument("--sessions", type=int, default=10, help="side by side (%(default)s)")
    parser.add_argument("--turns", type=int, default=40, help="of each session (%(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="a turn (%(default)s)")
    parser.add_argument("--without", type=Path, help="a checkout without the wrappers")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for figures")
    parser.add_argument("--no-pin", action="store_true", help="let the server and the rest share all cores")
    return parser.parse_args()


def ways(endpoint: str, *, without: bool) -> dict[str, dict[str, str]]:
    """Name → variables."""
    full = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    sampled = full | {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
    found: dict[str, dict[str, str]] = {"off": {}, "again": {}, "sampled": sampled, "full": full}
    if without:
        found["without"] = {}
    return found


@contextmanager
def collecting(folder: Path) -> Iterator[str]:
    """The endpoint of a collector that throws away what it gets."""
    http, grpc = _free_port(), _free_port()
    command = [
        str(COLLECTOR),
        "start",
        f"--otlp-http-endpoint=127.0.0.1:{http}",
        f"--otlp-grpc-endpoint=127.0.0.1:{grpc}",
        f"--pid-file={folder / 'collector.pid'}",
        "--exporter=blackhole",
    ]
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + COLLECTOR_READY_S
        while not _listens(http):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"the collector did not start; its log is in {folder}")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait()


async def once(
    way: str,
    number: int,
    setting: Setting,
    *,
    variables: Mapping[str, str],
    url: str,
    options: argparse.Namespace,
    server_cores: frozenset[int],
) -> Figures:
    """A fresh server, and the load against it. Raises RuntimeError."""
    log = options.out / "logs" / f"telemetry-{way}.log"
    checkout = options.without if way == "without" else None
    given = {**setting.environment, **variables}
    async with (
        server("unbroken", url, given, log, server_cores, checkout) as target,
        connected(target, setting) as load,
    ):
        before = cpu_s(target.pid)
        found = await load.run()
        spent = cpu_s(target.pid) - before
    count = setting.sessions * setting.turns
    return Figures(
        way=way,
        round=number,
        turns_per_s=count / found["took_s"],
        cpu_ms=spent / count * 1000,
        first_token_ms=quantile_ms(sorted(found["first_token_s"]), 0.5),
        turn_ms=quantile_ms(sorted(found["turn_s"]), 0.5),
    )


def table(measured: list[Figures]) -> str:
    """Medians over the rounds, and against `off` in the same round: the median of the ratios, least to greatest."""
    by_way: dict[str, dict[int, Figures]] = {}
    for one in measured:
        by_way.setdefault(one.way, {})[one.round] = one
    lines = ["| | turns/s | CPU ms a turn | first token ms | turn ms | turns/s against off | CPU against off |"]
    lines.append("|---|---|---|---|---|---|---|")
    for way, rounds in by_way.items():
        medians = [f"{median(getattr(one, name) for one in rounds.values()):.2f}" for name in FIGURES]
        against = [_against(rounds, by_way["off"], name) for name in ("turns_per_s", "cpu_ms")]
        lines.append(f"| {way} | {' | '.join([*medians, *against])} |")
    return "\n".join(lines)


def _against(rounds: Mapping[int, Figures], off: Mapping[int, Figures], name: str) -> str:
    ratios = [getattr(one, name) / getattr(off[number], name) for number, one in rounds.items() if number in off]
    return f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})" if ratios else ""


async def main(options: argparse.Namespace, measured: list[Figures]) -> None:
    others, server_cores = cores(pinned=not options.no_pin)
    pin(others)
    (options.out / "logs").mkdir(parents=True, exist_ok=True)
    with open_folder() as folder, EmbeddedPostgres(folder / "data") as postgres, collecting(folder) as endpoint:
        found = ways(endpoint, without=options.without is not None)
        urls = await databases(postgres.url, found)
        for number in range(options.rounds + 1):
            # Each round begins with another way, so that none always runs on a machine that the last one warmed.
            order = [*found][number % len(found) :] + [*found][: number % len(found)]
            turns = options.turns if number else 2  # the first round makes tables, and compiles
            setting = Setting("no delay", options.tokens, options.sessions, turns)
            for way in order:
                one = await once(
                    way,
                    number,
                    setting,
                    variables=found[way],
                    url=urls[way],
                    options=options,
                    server_cores=server_cores,
                )
                if number:
                    measured.append(one)
                    print(f"round {number}/{options.rounds}  {one}", file=sys.stderr, flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    chosen, done = arguments(), list[Figures]()
    try:
        asyncio.run(main(chosen, done))
    except RuntimeError as error:
        sys.exit(f"benchmarks: {error}")
    finally:
        if done:
            (chosen.out / "telemetry.json").write_text(json.dumps([asdict(one) for one in done], indent=1) + "\n")
            print(table(done))
