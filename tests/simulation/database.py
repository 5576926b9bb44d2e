"""The memory store at the far end of a network: a call may be slow, refused, or lose its answer; one whose caller was
told that its fate is unknown may still be carried out, a while later.

What the product's own adapter would raise is what is raised here: for a read StoreUnavailable; for a write that was
sent and not answered CommitUnknown, whether it was done or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final, Literal, TypeVar

from tests.simulation.loop import Actor, SimulatedLoop, actor
from unbroken.adapters.memory.transactions import Database, Transaction, one_turn_of_the_loop
from unbroken.domain.errors import CommitUnknown, StoreUnavailable

T = TypeVar("T")

Fate = Literal["store_refused", "store_lost_request", "store_lost_answer", "store_late"]
FATES: Final[tuple[Fate, ...]] = ("store_refused", "store_lost_request", "store_lost_answer", "store_late")

READS: Final = frozenset(
    {
        "load",
        "history",
        "sends",
        "marked",
        "read",
        "next_due",
        "view",
        "before",
        "strays",
        "behind",
        "standing",
        "threads",
        "gone",
        "due",
    }
    | {"next_due_s", "look", "missing_files", "read_file", "count_threads", "export", "threads_of"}
)
POLLS: Final = frozenset(
    {"renew", "strays", "behind", "gone", "due", "next_due", "next_due_s", "claim_effects", "marked", "mark"}
)
"""Asked again and again: the way back takes no time, which leaves the simulation more of it."""
BEATS: Final = frozenset({"join", "renew", "leave"})
"""On a connection of their own: they are met by outages and partitions, not by single mishaps."""
LATE_S: Final = 1.5


class SimulatedDatabase(Database):
    def __init__(self, loop: SimulatedLoop, random: Random) -> None:
        super().__init__(one_turn_of_the_loop)
        self._loop = loop
        self._random = random
        self.down = False
        self.cut_off: set[str] = set()
        """Names of replicas that do not reach it."""
        self.mishap_rate = 0.0
        self.slowness = 1.0
        self.next_fates: dict[str, Fate] = {}
        """By operation: what happens to the next call of it, whoever makes it."""
        self.on_mishap: Callable[[Fate, str, str], None] = lambda fate, operation, replica: None
        """Told of every fate that struck: which, the operation, and whose call it was."""

    async def run(self, operation: str, step: Callable[[Transaction], T]) -> T:
        caller = actor()
        if caller is self._loop.world:
            return self._apply(step)  # whoever only looks on changes nothing
        await asyncio.sleep(self._latency_s())
        if self._away(caller):
            raise StoreUnavailable("connection refused")
        fate = self._fate(operation)
        if fate is not None:
            self.on_mishap(fate, operation, caller.name)
            if fate == "store_refused":
                raise StoreUnavailable("connection reset")
            if fate == "store_late":
                self._loop.later(self._random.random() * LATE_S, self._unasked, step)
            if fate != "store_lost_answer":
                raise self._lost(operation)
        result = self._apply(step)
        if fate is not None:
            raise self._lost(operation)
        if operation not in POLLS:
            await asyncio.sleep(self._latency_s())
            if self._away(caller):
                raise self._lost(operation)
        return result

    def _apply(self, step: Callable[[Transaction], T]) -> T:
        transaction = Transaction(self)
        result = step(transaction)
        transaction.apply()
        return result

    def _unasked(self, step: Callable[[Transaction], object]) -> None:
        """Nobody hears how it ended."""
        with suppress(Exception):
            self._apply(step)

    def _fate(self, operation: str) -> Fate | None:
        if operation in BEATS:
            return None
        if self.next_fates and (fate := self.next_fates.pop(operation, None)):
            return fate
        if self.mishap_rate and self._random.random() < self.mishap_rate:
            return self._random.choice(FATES)
        return None

    def _lost(self, operation: str) -> StoreUnavailable | CommitUnknown:
        if operation in READS or operation == "mark":
            return StoreUnavailable("the answer was lost")
        return CommitUnknown("the answer to COMMIT was lost")

    def _away(self, caller: Actor) -> bool:
        return self.down or caller.name.partition("#")[0] in self.cut_off

    def _latency_s(self) -> float:
        return (0.0005 + 0.002 * self._random.random() ** 4 * 10) * self.slowness
