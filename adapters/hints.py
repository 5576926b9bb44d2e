"""What every adapter of `Wakeups` does the same way: who listens in this process, and how its own hints reach them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from unbroken.domain.ports.wakeups import Wakeups


class HeardHere(Wakeups):
    """Each listener is called once a hint, soon, never inside the caller's step; `announce` is how the others hear."""

    def __init__(self) -> None:
        self._on_hint: list[Callable[[str], None]] = []
        self._on_overheard: list[Callable[[str, bool], None]] = []

    def hint(self, thread_id: str, *, free: bool = False) -> None:
        loop = asyncio.get_running_loop()
        for on_hint in self._on_hint:
            loop.call_soon(on_hint, thread_id)
        self.announce(thread_id, free=free)

    def listen(self, on_hint: Callable[[str], None], on_overheard: Callable[[str, bool], None]) -> None:
        self._on_hint.append(on_hint)
        self._on_overheard.append(on_overheard)

    def hear(self, thread_id: str, *, free: bool) -> None:
        """Another replica has told it."""
        for on_overheard in self._on_overheard:
            on_overheard(thread_id, free)
