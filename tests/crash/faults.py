"""What happens to a campaign, and when: all of it follows from one seed."""

from __future__ import annotations

from random import Random
from typing import Literal

from msgspec import Struct

Kind = Literal["kill", "cut", "restart", "sever"]
"""The server is killed, every socket is cut, the database restarts, every connection to the database is lost."""


class Fault(Struct, frozen=True):
    """One fault in the middle of an answer, while a second message is sent."""

    kind: Kind
    strikes_at: float
    """As a part of the time that the first answer takes; above 1: while the second message is being answered."""
    second_at: float
    """When the second message is sent, likewise; always while the first one runs."""


class Plan(Struct, frozen=True):
    seed: int
    kills: int
    cuts: int
    restarts: int
    severs: int = 0

    def faults(self) -> list[Fault]:
        random = Random(self.seed)
        kinds = [kind for kind, count in self.counts().items() for _ in range(count)]
        random.shuffle(kinds)
        return [Fault(kind, random.uniform(0.0, 1.8), random.uniform(0.0, 0.8)) for kind in kinds]

    def counts(self) -> dict[Kind, int]:
        return {"kill": self.kills, "cut": self.cuts, "restart": self.restarts, "sever": self.severs}
