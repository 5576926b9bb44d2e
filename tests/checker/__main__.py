"""`python -m tests.checker TABLES.json TRACE.jsonl…`: prints each violation with its evidence; exit code 1 if any."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.checker.check import violations
from tests.checker.history import Tables, read_trace


def main(tables: str, *traces: str) -> int:
    sockets = [socket for trace in traces for socket in read_trace(Path(trace))]
    found = violations(sockets, Tables.of(json.loads(Path(tables).read_text(encoding="utf-8"))))
    for violation in found:
        print(violation)
    print(f"{len(sockets)} connections, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
