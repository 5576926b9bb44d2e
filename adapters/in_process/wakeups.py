from __future__ import annotations

import asyncio
from collections.abc import Callable

from unbroken.domain.ports.peers import MAX_MESSAGE_BYTES, Peers
from unbroken.domain.ports.wakeups import Wakeups


class InProcessWakeups(Wakeups):
    """Hints within one event loop: each listener is called once a hint, soon, never inside the caller's step. There
    are no other replicas."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[str], None]] = []

    def hint(self, thread_id: str, *, free: bool = False) -> None:
        loop = asyncio.get_running_loop()
        for on_hint in self._listeners:
            loop.call_soon(on_hint, thread_id)

    def announce(self, thread_id: str, *, free: bool = False) -> None:
        pass

    def listen(self, on_hint: Callable[[str], None], on_overheard: Callable[[str, bool], None]) -> None:
        self._listeners.append(on_hint)


class NoPeers(Peers):
    """Nothing carries messages."""

    @property
    def reachable(self) -> bool:
        return False

    def send(self, replica: int, message: bytes) -> None:
        assert len(message) <= MAX_MESSAGE_BYTES, f"a message of {len(message)} bytes; the limit is {MAX_MESSAGE_BYTES}"

    def receive(self, on_message: Callable[[bytes], None]) -> None:
        pass
