"""What the product logs as a defect of its own, while a world is looked at."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

EXPECTED: Final = ("the history cannot be made whole", "effect failed")


class Complaints(logging.Handler):
    """One for the process: changing loggers empties their caches."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._heard: list[str] | None = None
        log = logging.getLogger("unbroken")
        log.propagate = False
        log.setLevel(logging.ERROR)
        log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self._heard is not None and not text.startswith(EXPECTED):
            error = record.exc_info[1] if record.exc_info else None
            self._heard.append(f"logged as an error: {text}: {error!r}")

    @contextmanager
    def heard(self) -> Iterator[list[str]]:
        """From now on, until the world ends: the dead of former ones have nothing to say."""
        self._heard = []
        try:
            yield self._heard
        finally:
            self._heard = None


complaints: Final = Complaints()
