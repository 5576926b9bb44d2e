"""`make bench`: interleaved rounds of every server, a table of medians and ratios, raw figures kept as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import costs
from benchmarks.report import Measurement, table
from benchmarks.servers import KINDS, server
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

SHAPES = {"no delay": (0.0, 0.0), "streaming": (0.1, 0.01)}
SETTLE_S = 1.5
"""PostgreSQL's backends report their counters once they have been idle for a second."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of every server")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10, 100], help="concurrent sessions")
    parser.add_argument("--tokens", type=int, nargs="+", default=[64], help="tokens a turn")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["no delay"], help="pauses of the model")
    parser.add_argument("--servers", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--turns", type=int, help="turns a session; absent: as many as make a run of a few seconds")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the raw figures")
    parser.add_argument("--quick", action="store_true", help="two rounds, one and ten sessions")
    return parser.parse_args()


def turns_of(sessions: int, shape: str) -> int:
    if shape == "streaming":
        return 5
    return {1: 200, 10: 40}.get(sessions, 10)


async def measure(
    kind: str, database_url: str, postgres_pid: int, sessions: int, turns: int, tokens: int, shape: str, log: Path
) -> Measurement:
    first_s, gap_s = SHAPES[shape]
    environment = {"TOKENS": str(tokens), "FIRST_S": str(first_s), "GAP_S": str(gap_s)}
    async with server(kind, database_url, environment, log) as running:
        command = [sys.executable, "-m", "benchmarks.load", running.url, str(sessions), str(turns), running.protocol]
        load = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 30
        )
        assert load.stdin is not None
        assert load.stdout is not None
        try:
            await load.stdout.readline()
            await asyncio.sleep(SETTLE_S)
            before = await costs(database_url, running.pid, postgres_pid)
            load.stdin.write(b"go\n")
            line = await load.stdout.readline()
            await asyncio.sleep(SETTLE_S)
            spent = (await costs(database_url, running.pid, postgres_pid)).since(before)
            if await load.wait() != 0:
                raise RuntimeError(f"the load failed against {kind}; the server's log is {log}")
        finally:
            if load.returncode is None:
                load.kill()
                await load.wait()
    return Measurement.of(kind, sessions, turns, tokens, shape, json.loads(line), spent)


async def main(options: argparse.Namespace) -> None:
    if options.quick:
        options.rounds, options.sessions = 2, [1, 10]
    options.out.mkdir(parents=True, exist_ok=True)
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as postgres:
        assert postgres.pid is not None
        for shape in options.shapes:
            for tokens in options.tokens:
                for sessions in options.sessions:
                    turns = options.turns or turns_of(sessions, shape)
                    for number in range(options.rounds):
                        for kind in options.servers:
                            found = await measure(
                                kind, postgres.url, postgres.pid, sessions, turns, tokens, shape, Path(folder) / kind
                            )
                            measurements.append(found)
                            print(f"round {number + 1}/{options.rounds}  {found.line()}", file=sys.stderr, flush=True)
                    (options.out / "raw.json").write_text(json.dumps([vars(one) for one in measurements], indent=1))
    shown = table(measurements)
    (options.out / "table.md").write_text(shown + "\n")
    print(shown)


if __name__ == "__main__":
    try:
        asyncio.run(main(arguments()))
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        sys.exit(f"benchmarks: {error}")
