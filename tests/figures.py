"""What long runs measured, kept: one JSON line a run in docs/reliability.jsonl, with its commit and day.

`python -m tests.figures` writes them into the tables of docs/reliability.md.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
KEPT: Final = ROOT / "docs" / "reliability.jsonl"
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- figures: written by `python -m tests.figures` -->"
END: Final = "<!-- end of figures -->"

Figure = int | float | str | bool | dict[str, int]
"""A mapping is kept and added up, and not shown row by row."""
ADDED: Final = frozenset(
    {"seeds", "run_twice", "events", "attempts", "faults", "violations", "seconds", "frames", "kills", "minutes"}
    | {"messages", "threads", "attacks", "points", "missed", "broken"}
)
"""Figures of which several runs have a sum."""


def record(kind: str, figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Append one run's figures. `kind` names the machinery, e.g. `simulation`; a figure's name ends in its unit."""
    row: dict[str, Figure] = {"kind": kind, "commit": commit(), "day": f"{datetime.now(UTC):%Y-%m-%d}", **figures}
    with KEPT.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return row


def rows(kind: str | None = None) -> list[dict[str, Figure]]:
    """What was recorded, oldest first."""
    if not KEPT.exists():
        return []
    found = [json.loads(line) for line in KEPT.read_text("utf-8").splitlines() if line.strip()]
    return [row for row in found if kind in (None, row["kind"])]


def commit() -> str:
    """The commit that was measured; `+` if files of it were changed."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return f"{head}+" if changed else head


def tables() -> Iterator[str]:
    """Markdown, one table a kind."""
    for kind in dict.fromkeys(str(row["kind"]) for row in rows()):
        of_kind = rows(kind)
        names = list(dict.fromkeys(name for row in of_kind for name in row if name not in {"kind", "met"}))
        yield f"### {kind}\n"
        yield f"| {' | '.join(name.replace('_', ' ') for name in names)} |"
        yield f"|{' --- |' * len(names)}"
        for row in of_kind:
            yield f"| {' | '.join(_told(row.get(name, '')) for name in names)} |"
        if len(of_kind) > 1:
            yield f"| {' | '.join(_told(value) for value in _sum(of_kind, names))} |"
        yield ""


def _sum(of_kind: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[Any]:
    """The last row of a table: what adds up, the fewest of what is `fewest`, and of cells that several runs filled."""
    met = sum((Counter(row.get("met", {})) for row in of_kind), Counter[str]())
    for name in names:
        values = [row[name] for row in of_kind if isinstance(row.get(name), int | float)]
        if name == "commit":
            yield "**together**"
        elif name == "fewest_in_a_cell" and met:
            yield min(met.values())
        elif name.startswith("fewest") and values:
            yield min(values)
        else:
            yield sum(values) if name in ADDED and values else ""


def document(text: str) -> str:
    """The document with today's tables between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *tables(), END]) + after


def _told(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text("utf-8")), "utf-8")
