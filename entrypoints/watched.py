"""The files whose change means that a project has changed, looked at from time to time.

Looked at, and not listened to: that needs no package, and works on network folders and in containers, where a system
tells nobody what others have changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from unbroken.adapters.langgraph.project import NAME

INTERVAL_S: Final = 0.4
SHARE: Final = 20
"""Looking takes at most one of so many parts of the time."""
MOST_FILES: Final = 20_000
SUFFIXES: Final = (".py", ".env")
NAMES: Final = (NAME, ".env")
LEFT_OUT: Final = frozenset({"node_modules", "__pycache__", "site-packages"})

Stamps = dict[str, tuple[int, int]]


class Watched:
    def __init__(self, folders: Callable[[], Sequence[Path]], now: Callable[[], float] = time.monotonic) -> None:
        """`folders`: looked through with all that is in them, but for environments, and what begins with a dot."""
        self._folders = folders
        self._now = now
        self._known = self._stamps()
        self._unsettled: Stamps | None = None
        self._next_s = 0.0

    def changes(self) -> Sequence[str]:
        """Paths that have changed, appeared or gone since the last time some had; none while they still change."""
        began = self._now()
        if began < self._next_s:
            return []
        found = self._stamps()
        self._next_s = self._now() + max(INTERVAL_S, SHARE * (self._now() - began))
        if found == self._known:
            self._unsettled = None
            return []
        if found != self._unsettled:
            self._unsettled = found
            return []
        changed = sorted(path for path in found.keys() | self._known.keys() if found.get(path) != self._known.get(path))
        self._known, self._unsettled = found, None
        return changed

    def _stamps(self) -> Stamps:
        stamps: Stamps = {}
        for path in _files(self._folders()):
            try:
                status = Path(path).stat()
            except OSError:
                continue
            stamps[path] = (status.st_mtime_ns, status.st_size)
            if len(stamps) >= MOST_FILES:
                break
        return stamps


def _files(folders: Iterable[Path]) -> Iterable[str]:
    seen: set[str] = set()
    for folder in folders:
        for place, inner, names in os.walk(folder):
            if place in seen or "pyvenv.cfg" in names:
                inner.clear()
                continue
            seen.add(place)
            inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in LEFT_OUT)
            yield from (f"{place}{os.sep}{name}" for name in names if name.endswith(SUFFIXES) or name in NAMES)
