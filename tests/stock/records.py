"""What the clients ended with at either server, as it was recorded, and where the two differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.stock.cases import Shown

HERE = Path(__file__).parent
ORACLE = HERE / "oracle.json"
DIFFERENT = HERE / "different.json"
"""Unbroken's, only where it is meant to differ from the oracle's, each with its reason in `reasons.py`."""


def recorded(where: Path) -> dict[str, Shown]:
    found: dict[str, Shown] = json.loads(where.read_text()) if where.exists() else {}
    return found


def expected() -> dict[str, Shown]:
    """What Unbroken's clients end with: what the oracle's did, unless a difference is meant."""
    return recorded(ORACLE) | recorded(DIFFERENT)


def record_oracle(results: Mapping[str, Shown]) -> None:
    """Kept beside what was recorded of other cases before."""
    _write(ORACLE, recorded(ORACLE) | dict(results))


def record_unbroken(results: Mapping[str, Shown]) -> None:
    oracle, known = recorded(ORACLE), recorded(DIFFERENT) | dict(results)
    _write(DIFFERENT, {name: shown for name, shown in known.items() if oracle.get(name) != shown})


def _write(where: Path, results: Mapping[str, Shown]) -> None:
    where.write_text(json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
