from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

MAX_MESSAGE_BYTES: Final = 256 << 10


class Peers(ABC):
    """Messages from one replica to another. Best effort: lost, doubled and reordered ones are ordinary, and nothing is
    trusted to them that is not in the store."""

    @property
    @abstractmethod
    def reachable(self) -> bool:
        """Whether anything carries messages now. It may change at any time."""

    @abstractmethod
    def send(self, replica: int, message: bytes) -> None:
        """Give a message on its way to the replica of that id. Never blocks; dropped while nothing carries it, where
        too much waits to be sent, and where no such replica is.

        More than MAX_MESSAGE_BYTES is a defect of ours: AssertionError.
        """

    @abstractmethod
    def receive(self, on_message: Callable[[bytes], None]) -> None:
        """Call `on_message(message)` on the event loop, never inside the sender's step, for each message to this
        replica. Whoever reaches the bus may have written it."""
