from __future__ import annotations

import asyncio
from collections.abc import Callable

from unbroken.adapters.hints import HeardHere
from unbroken.domain.ports.peers import MAX_MESSAGE_BYTES, Peers

Carry = Callable[[Callable[[], None]], None]
"""What becomes of one delivery, given what would deliver it: at once or later, once, more often, or never."""


class Hub:
    """Joins several replicas that live in one process."""

    def __init__(self, carry: Carry | None = None) -> None:
        """`carry` None: everything arrives once, in order, in the next step of the event loop."""
        self.carry = carry or _soon
        self.members: dict[int, HubMember] = {}

    def join(self, replica: int) -> HubMember:
        member = self.members[replica] = HubMember(self, replica)
        return member


class HubMember(HeardHere, Peers):
    """One replica's hints and messages."""

    def __init__(self, hub: Hub, replica: int) -> None:
        super().__init__()
        self._hub = hub
        self._replica = replica
        self._on_message: list[Callable[[bytes], None]] = []

    def announce(self, thread_id: str, *, free: bool = False) -> None:
        for replica, member in self._hub.members.items():
            if replica != self._replica:
                self._hub.carry(lambda member=member: member.hear(thread_id, free=free))  # type: ignore[misc]

    @property
    def reachable(self) -> bool:
        return self._hub.members.get(self._replica) is self

    def send(self, replica: int, message: bytes) -> None:
        assert len(message) <= MAX_MESSAGE_BYTES, f"a message of {len(message)} bytes; the limit is {MAX_MESSAGE_BYTES}"
        member = self._hub.members.get(replica)
        if self.reachable and member is not None:
            self._hub.carry(lambda: member.take(message))

    def receive(self, on_message: Callable[[bytes], None]) -> None:
        self._on_message.append(on_message)

    def take(self, message: bytes) -> None:
        for on_message in self._on_message:
            on_message(message)

    def leave(self) -> None:
        """Nothing is given or heard any more."""
        if self.reachable:
            del self._hub.members[self._replica]
        self._on_hint, self._on_overheard, self._on_message = [], [], []


def _soon(deliver: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(deliver)
