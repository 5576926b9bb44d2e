"""What a storm counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    frames: int = 0
    sockets: int = 0
    answers: int = 0
    """That well-behaved clients got meanwhile."""
    heard: Counter[str] = field(default_factory=Counter)
    """Frames sent to attackers, by type."""
    refusals: Counter[str] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)
    last: dict[str, str | bytes | None] = field(default_factory=dict)
    """The frame that each attacker sent last."""

    def add(self, other: Tally) -> None:
        self.frames += other.frames
        self.sockets += other.sockets
        self.answers += other.answers
        self.heard += other.heard
        self.refusals += other.refusals
        self.closes += other.closes
