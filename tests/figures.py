"""What long runs measured, kept: one JSON line a run in docs/reliability.jsonl, with its commit and day.

`python -m tests.figures` writes them into the tables of docs/reliability.md.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
KEPT: Final = ROOT / "docs" / "reliability.jsonl"
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- figures: written by `python -m tests.figures` -->"
END: Final = "<!-- end of figures -->"

Figure = int | float | str | bool


def record(kind: str, figures: Mapping[str, Figure], *, kept: Path = KEPT) -> dict[str, Figure]:
    """Append one run's figures. `kind` names the machinery, e.g. `simulation`; a figure's name ends in its unit."""
    row: dict[str, Figure] = {"kind": kind, "commit": commit(), "day": f"{datetime.now(UTC):%Y-%m-%d}", **figures}
    with kept.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return row


def rows(kind: str | None = None, *, kept: Path = KEPT) -> list[dict[str, Figure]]:
    """What was recorded, oldest first."""
    if not kept.exists():
        return []
    found = [json.loads(line) for line in kept.read_text("utf-8").splitlines() if line.strip()]
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
        names = list(dict.fromkeys(name for row in of_kind for name in row if name != "kind"))
        yield f"### {kind}\n"
        yield f"| {' | '.join(name.replace('_', ' ') for name in names)} |"
        yield f"|{' --- |' * len(names)}"
        for row in of_kind:
            yield f"| {' | '.join(_told(row.get(name, '')) for name in names)} |"
        yield ""


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
