from __future__ import annotations

from collections.abc import Callable

from unbroken.adapters.hints import HeardHere
from unbroken.domain.ports.peers import MAX_MESSAGE_BYTES, Peers


class InProcessWakeups(HeardHere):
    """Hints within one event loop. There are no other replicas."""

    def announce(self, thread_id: str, *, free: bool = False) -> None:
        pass


class NoPeers(Peers):
    """Nothing carries messages."""

    @property
    def reachable(self) -> bool:
        return False

    def send(self, replica: int, message: bytes) -> None:
        assert len(message) <= MAX_MESSAGE_BYTES, f"a message of {len(message)} bytes; the limit is {MAX_MESSAGE_BYTES}"

    def receive(self, on_message: Callable[[bytes], None]) -> None:
        pass
