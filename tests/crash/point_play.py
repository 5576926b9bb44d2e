"""What a scenario is: a short conversation for one kill, and how its messages may end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from tests.crash.instrument import When
from tests.crash.trouble import Trouble
from tests.end_to_end.client import Client

Ends = Mapping[str, Sequence[str]]
"""Request id → how it may end: the end's type, or its code."""
FINAL: Final = ("final",)
STOPPED: Final = ("cancelled", "final")
"""A cancel may come too late."""
FAILED: Final = ("model_failed", "poisoned")
SLOW: Final = "words=40 pause=0.02"
TRIES: Final = 4
"""How many a message gets; a kill costs it one."""
COMMIT: Final = "adapters.postgres.unit_of_work:PostgresUnitOfWork.commit:1 await"
CANCEL: Final = "application.cancel:Cancel.__call__:1 await"


class Fall(Struct, frozen=True):
    point: str = ""
    """Empty: what is said kills it."""
    when: When = "before"
    passing: int = 1


class Scenario(Struct, frozen=True):
    agent: str
    play: Callable[[Client], Awaitable[Ends]]
    drains: bool = False
    """The server is asked to stop once something is on the screen."""
    linear: bool = True
    """No message takes another one's place, and all of them are plain text."""
    falls: tuple[Fall, ...] = ()
    """Where earlier servers have died by then: the one that is to be killed has taken over from the last of them."""

    prepare: Callable[[str, str], Awaitable[None]] | None = None
    """What a database, by its URL, holds of a thread before the first server begins."""
    trouble: Trouble = ""
    """That the server which is to be killed has with its database."""
    by_clock: bool = False
    """What it is there for are polls, of which it passes as many as there is time for."""

    @property
    def smooth(self) -> bool:
        """One server plays it to its end, and has no trouble: what it passes once it will pass again."""
        return not (self.drains or self.falls or self.trouble or self.by_clock)

    @property
    def plain(self) -> bool:
        """What its clients said before a message is all that its answer follows from."""
        return self.agent in {"one", "three", "turn"} and self.prepare is None and self.linear
