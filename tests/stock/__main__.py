"""Play the cases and print what the clients ended with; ≠ marks what is not as it was recorded.

    python -m tests.stock --oracle LANGGRAPH       against LangGraph's development server, started by that program
    python -m tests.stock --unbroken               against Unbroken
    python -m tests.stock --table                  docs/compatibility.md from what was recorded of both

LANGGRAPH is the `langgraph` of an environment of its own (pip install "langgraph-cli[inmem]" langchain-openai).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.stock.cases import Case, Shown, Stock, played
from tests.stock.node import js_version
from tests.stock.players import all_cases
from tests.stock.records import expected, record_oracle, record_unbroken
from tests.stock.servers import oracle, unbroken
from tests.stock.stage import Stage
from tests.stock.table import WHERE, table


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stock", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="Names, or their beginnings; absent: all of them.")
    parser.add_argument("--oracle", metavar="LANGGRAPH", type=Path)
    parser.add_argument("--unbroken", action="store_true")
    parser.add_argument("--record", action="store_true", help="Keep the results for the table.")
    parser.add_argument("--table", action="store_true", help="Write docs/compatibility.md from what is recorded.")
    options = parser.parse_args(given)
    wanted = [found for found in all_cases() if not options.cases or found.name.startswith(tuple(options.cases))]
    if options.oracle is not None:
        with tempfile.TemporaryDirectory() as folder, oracle(options.oracle, Path(folder)) as stage:
            _all(wanted, stage, record_oracle if options.record else None)
    if options.unbroken:
        with tempfile.TemporaryDirectory() as folder, unbroken(Path(folder)) as stage:
            _all(wanted, stage, record_unbroken if options.record else None)
    if options.table:
        WHERE.write_text(table(all_cases(), python=version("langgraph-sdk"), js=js_version()))
    return 0


def _all(cases: Sequence[Case], stage: Stage, record: Callable[[dict[str, Shown]], None] | None) -> None:
    results: dict[str, Shown] = {}
    for found in cases:
        results[found.name] = asyncio.run(played(found, Stock(stage.url, stage.control)))
        as_recorded = results[found.name] in expected().get(found.name, [])
        print("  " if as_recorded else "≠ ", json.dumps({found.name: results[found.name]}), flush=True)
    if record is not None:
        record(results)


if __name__ == "__main__":
    sys.exit(main())
