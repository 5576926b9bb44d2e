from __future__ import annotations

from collections.abc import Callable

from unbroken.domain.ports.lease import Lease


class AlwaysHeld(Lease):
    """Of a process whose store is its own memory: there is nobody else who could take over."""

    def held(self) -> bool:
        return True

    def listen(self, on_regained: Callable[[], None]) -> None:
        """It never ends."""
