"""Wakeups between the replicas of the world: lost, doubled, late, in any order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.simulation.loop import Actor, SimulatedLoop, actor
from unbroken.domain.ports.wakeups import Wakeups


class Bus:
    """What carries hints from one replica to the others."""

    def __init__(self, loop: SimulatedLoop, random: Random, *, crosses: bool) -> None:
        """`crosses`: whether hints leave the replica that gives them at all."""
        self._loop = loop
        self._random = random
        self._crosses = crosses
        self._listeners: list[tuple[Actor, Callable[[str], None]]] = []
        self.lost = self.doubled = 0.0
        """Shares of hints."""
        self.delay_s = 0.002

    def join(self) -> SimulatedWakeups:
        return SimulatedWakeups(self)

    def listen(self, on_hint: Callable[[str], None]) -> None:
        self._listeners.append((actor(), on_hint))

    def hint(self, thread_id: str) -> None:
        giver = actor()
        self._listeners = [(owner, on_hint) for owner, on_hint in self._listeners if not owner.dead]
        for owner, on_hint in self._listeners:
            if owner is giver:
                self._loop.call_soon(on_hint, thread_id, context=owner.context)
            elif self._crosses and self._random.random() >= self.lost:
                for _ in range(2 if self._random.random() < self.doubled else 1):
                    delay_s = self._random.random() * self.delay_s
                    self._loop.call_at(self._loop.time() + delay_s, on_hint, thread_id, context=owner.context)


class SimulatedWakeups(Wakeups):
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def hint(self, thread_id: str) -> None:
        self._bus.hint(thread_id)

    def listen(self, on_hint: Callable[[str], None]) -> None:
        self._bus.listen(on_hint)
