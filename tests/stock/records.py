"""What the clients ended with at either server, as it was recorded, and where the two differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.stock.cases import Shown
from tests.stock.reasons import NOT_YET, REASONS

HERE = Path(__file__).parent
ORACLE = HERE / "oracle.json"
DIFFERENT = HERE / "different.json"
"""Unbroken's, only where it is meant to differ from the oracle's, each with its reason in `reasons.py`."""


def recorded(where: Path) -> dict[str, Shown]:
    found: dict[str, Shown] = json.loads(where.read_text()) if where.exists() else {}
    return found


def expected() -> dict[str, list[Shown]]:
    """What Unbroken's clients may end with: what the oracle's did, unless a difference is meant."""
    oracle, different = recorded(ORACLE), recorded(DIFFERENT)
    return {
        name: [*([different[name]] if name in different else []), *([shown] if _may_agree(name, different) else [])]
        for name, shown in oracle.items()
    }


def _may_agree(name: str, different: Mapping[str, Shown]) -> bool:
    return name not in different or REASONS.get(name, NOT_YET).startswith(NOT_YET)


def record_oracle(results: Mapping[str, Shown]) -> None:
    """Kept beside what was recorded of other cases before."""
    _write(ORACLE, recorded(ORACLE) | dict(results))


def record_unbroken(results: Mapping[str, Shown]) -> None:
    oracle, known = recorded(ORACLE), recorded(DIFFERENT) | dict(results)
    _write(DIFFERENT, {name: shown for name, shown in known.items() if oracle.get(name) != shown})


def _write(where: Path, results: Mapping[str, Shown]) -> None:
    where.write_text(json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
