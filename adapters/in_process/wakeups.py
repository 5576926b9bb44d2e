from __future__ import annotations

import asyncio
from collections.abc import Callable

from unbroken.domain.ports.wakeups import Wakeups


class InProcessWakeups(Wakeups):
    """Hints within one event loop: each listener is called once a hint, soon, never inside the caller's step."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[str], None]] = []

    def hint(self, thread_id: str) -> None:
        loop = asyncio.get_running_loop()
        for on_hint in self._listeners:
            loop.call_soon(on_hint, thread_id)

    def listen(self, on_hint: Callable[[str], None]) -> None:
        self._listeners.append(on_hint)
