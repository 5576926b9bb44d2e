from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Lease(ABC):
    """Whether this replica may believe that it is alive, by its own clock alone: nobody has to tell it that it is not.

    Liveness only. What is written is decided by the store's fence (I5); this decides what may be shown meanwhile.
    """

    @abstractmethod
    def held(self) -> bool:
        """Cheap: asked before each look at an attempt's stream. Counted from the moment at which the last renewal that
        succeeded was sent, so never true after the store's own end of the lease, whatever this process slept through.
        Once false, true again only after what `listen` was given has been called."""

    @abstractmethod
    def listen(self, on_regained: Callable[[], None]) -> None:
        """Call `on_regained` on the event loop when a renewal has succeeded after the lease was over, in the very step
        in which `held` becomes true. Others may have taken sessions over in between."""
