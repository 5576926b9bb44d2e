"""What was measured, kept: a file of JSON for each part, one row a line, so that a diff shows which figures changed.

A row knows its `cell`, what it is a measurement of. Measuring a cell again replaces its rows and leaves the others.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Hashable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeVar

from benchmarks.machine import told

ROOT: Final = Path(__file__).parent.parent
DIGITS: Final = 5
"""That are kept of a figure; no clock here is as exact."""


class Row(Protocol):
    """A frozen dataclass of figures and words."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def cell(self) -> Hashable: ...


R = TypeVar("R", bound=Row)


def rows(path: Path, kind: type[R]) -> list[R]:
    """In the order in which they were measured; none where nothing was kept."""
    return [_row(kind, values) for _, values in _kept(path, kind)]


def origins(path: Path, kind: type[Row]) -> list[str]:
    """Commits that were measured, with their days."""
    return list(dict.fromkeys(origin for origin, _ in _kept(path, kind)))


def add(path: Path, kind: type[R], found: Sequence[R]) -> None:
    """Keep these, in place of the rows of the same cells."""
    cells, origin = {one.cell for one in found}, f"{commit()}, {datetime.now(UTC):%Y-%m-%d}"
    names = [field.name for field in fields(kind)]
    kept = [(old, values) for old, values in _kept(path, kind) if _row(kind, values).cell not in cells]
    kept += [(origin, {name: _rounded(getattr(one, name)) for name in names}) for one in found]
    lines = ",\n".join(json.dumps([old, *values.values()], ensure_ascii=False) for old, values in kept)
    head = f'"machine": {json.dumps(told())},\n"columns": {json.dumps(["origin", *names])}'
    path.write_text(f'{{{head},\n"rows": [\n{lines}\n]}}\n', "utf-8")


def commit() -> str:
    """The commit that was measured; `+` if files of it were changed."""
    head = _git("rev-parse", "--short", "HEAD")
    return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs") else head


def _kept(path: Path, kind: type[Row]) -> list[tuple[str, dict[str, Any]]]:
    """What was measured before a figure was added or left out does not count as measured."""
    if not path.exists():
        return []
    kept = json.loads(path.read_text("utf-8"))
    _, *names = kept["columns"]
    if names != [field.name for field in fields(kind)]:
        return []
    return [(origin, dict(zip(names, values, strict=True))) for origin, *values in kept["rows"]]


def _row(kind: type[R], values: dict[str, Any]) -> R:
    return kind(**values)


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
