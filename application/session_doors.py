"""Who may count an attempt of a session: the accepts on their way to the store, or one look, never both.

An accept may have counted an attempt that this process has not heard of yet; a look that came after it in the store
would count the same attempt again, and the first one would be lost without any fault (I14).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SessionDoors:
    """Accepts of a session go side by side. A look waits for those that are under way, and others wait for it."""

    def __init__(self) -> None:
        self._accepts: Counter[str] = Counter()
        self._looks: dict[str, asyncio.Event] = {}
        """Set when the look is over."""
        self._last_out: dict[str, asyncio.Event] = {}
        """Set when no accept is under way, where a look waits for that."""
        self._empty = asyncio.Event()
        """Set when no accept of any session is under way."""

    async def all_out(self) -> None:
        """Wait until no accept is under way."""
        while self._accepts:
            self._empty.clear()
            await self._empty.wait()

    def expects(self, thread_id: str) -> bool:
        """Whether an accept is on its way."""
        return thread_id in self._accepts

    @asynccontextmanager
    async def accept(self, thread_id: str) -> AsyncIterator[None]:
        while look := self._looks.get(thread_id):
            await look.wait()
        self._accepts[thread_id] += 1
        try:
            yield
        finally:
            self._accepts[thread_id] -= 1
            if not self._accepts[thread_id]:
                del self._accepts[thread_id]
                if last_out := self._last_out.get(thread_id):
                    last_out.set()
                if not self._accepts:
                    self._empty.set()

    @asynccontextmanager
    async def look(self, thread_id: str) -> AsyncIterator[None]:
        """One at a time for each session."""
        over = self._looks[thread_id] = asyncio.Event()
        try:
            if thread_id in self._accepts:
                last_out = self._last_out[thread_id] = asyncio.Event()
                await last_out.wait()
            yield
        finally:
            self._last_out.pop(thread_id, None)
            del self._looks[thread_id]
            over.set()
