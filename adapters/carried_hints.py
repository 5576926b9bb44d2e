"""What every carrier of hints between processes has in common: what is gathered for the others, and what is made of
what they say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from unbroken.adapters.hints import HeardHere
from unbroken.domain.errors import InvalidValue
from unbroken.domain.session import check_id

log = logging.getLogger(__name__)

MOST: Final = 10_000
"""Sessions about which something waits to be told (I12); beyond, the polls of the others find it."""
COMPLAINT_S: Final = 60.0
"""Between two log lines about what makes no sense."""
CANCEL_S: Final = 2.0
"""Between two cancellations of one task; longer than it takes to close its connection."""
ENVELOPE: Final = 40
"""Bytes of a message without its hints."""


async def until_ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel them, and once more if need be: drivers may take a cancellation that comes at the wrong moment for one of
    their own."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_S)
    await asyncio.gather(*tasks, return_exceptions=True)


class Company:
    """Whether other replicas are alive, as far as this process knows. Who is alone tells nobody anything."""

    def __init__(self) -> None:
        self._alive = 2

    @property
    def alone(self) -> bool:
        return self._alive < 2

    def counted(self, alive: int) -> None:
        """So many were alive at a renewal of the lease, this one included."""
        self._alive = alive

    def heard(self) -> None:
        """Another one has said something since."""
        self._alive = max(2, self._alive)


class Told(Struct, array_like=True):
    """One message: whose it is, in which threads something changed, and which sessions are free."""

    replica: int
    changed: list[str]
    free: list[str]


class Taken(Struct, frozen=True):
    payload: bytes
    hints: dict[str, bool]


_decoder: Final = msgspec.json.Decoder(Told)
_encode: Final = msgspec.json.Encoder().encode


class CarriedWakeups(HeardHere):
    """Hints of this process are told here at once, and gathered for the carrier, one entry a thread."""

    def __init__(self, replica: int, company: Company) -> None:
        super().__init__()
        self.replica = replica
        self.company = company
        self.given = self.overheard = self.dropped = self.senseless = 0
        """Hints, and messages that made no sense, since the start."""
        self._more = asyncio.Event()
        self._waiting: dict[str, bool] = {}
        self._complained_at: float | None = None

    def announce(self, thread_id: str, *, free: bool = False) -> None:
        if self.company.alone:
            return
        if len(self._waiting) >= MOST and thread_id not in self._waiting:
            self.dropped += 1
            return
        self._waiting[thread_id] = self._waiting.get(thread_id, False) or free
        self._more.set()

    def take(self, limit: int) -> Taken:
        """What waits, oldest first, as a message of at most `limit` bytes; the rest stays. Without hints: a greeting,
        by which the others know that they are not alone."""
        taken: dict[str, bool] = {}
        size = ENVELOPE
        for thread_id, free in self._waiting.items():
            size += len(_encode(thread_id)) + 1
            if size > limit:
                break
            taken[thread_id] = free
        for thread_id in taken:
            del self._waiting[thread_id]
        if not self._waiting:
            self._more.clear()
        self.given += len(taken)
        changed = [thread_id for thread_id, free in taken.items() if not free]
        return Taken(
            _encode(Told(self.replica, changed, [thread_id for thread_id, free in taken.items() if free])), taken
        )

    def give_back(self, taken: Taken) -> None:
        """It was not sent."""
        self.given -= len(taken.hints)
        for thread_id, free in taken.hints.items():
            self.announce(thread_id, free=free)

    def heard(self, payload: bytes) -> None:
        """A message arrived: from another replica, from this one, or from anybody who reaches the carrier."""
        try:
            told = _decoder.decode(payload)
            for thread_id in (*told.changed, *told.free):
                check_id("thread_id", thread_id)
        except (msgspec.MsgspecError, InvalidValue, UnicodeDecodeError, RecursionError) as error:
            self._complain(error)
            return
        if told.replica == self.replica:
            return
        self.company.heard()
        self.overheard += len(told.changed) + len(told.free)
        for thread_id in told.changed:
            self.hear(thread_id, free=False)
        for thread_id in told.free:
            self.hear(thread_id, free=True)

    def _complain(self, error: Exception) -> None:
        self.senseless += 1
        now = asyncio.get_running_loop().time()
        if self._complained_at is None or now - self._complained_at >= COMPLAINT_S:
            self._complained_at = now
            log.warning("what came over the bus makes no sense (%d times so far): %s", self.senseless, error)
