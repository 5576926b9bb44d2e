"""What a process knows of its own lease, by the loop's clock."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.loop import SimulatedLoop
from unbroken.domain.ports.lease import Lease


class SimulatedLease(Lease):
    def __init__(self, loop: SimulatedLoop, until: float) -> None:
        """`until`: counted from the moment at which joining was asked for."""
        self._loop = loop
        self._until = until
        self._listeners: list[Callable[[], None]] = []

    def held(self) -> bool:
        return self._loop.time() < self._until

    def listen(self, on_regained: Callable[[], None]) -> None:
        self._listeners.append(on_regained)

    def renewed(self, until: float) -> None:
        lapsed = not self.held()
        self._until = until
        if lapsed and self.held():
            for on_regained in self._listeners:
                on_regained()
