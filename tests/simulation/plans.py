"""What users say and what the agent makes of it, drawn before anything happens; a message's text names its plan."""

from __future__ import annotations

from random import Random
from typing import Final, Literal

from msgspec import Struct

Trouble = Literal["none", "retryable", "hang", "swallow", "lingers", "unsettled"]
TROUBLES: Final[tuple[Trouble, ...]] = ("retryable", "hang", "swallow", "lingers", "unsettled")
"""Of one try: fails and may be repeated; never ends; ignores its cancellation; leaves a task behind that goes on
speaking; cannot make its history whole."""
End = Literal["answer", "ask", "fail", "too_long", "revised"]

WORDS: Final = ("tea ", "and ", "😀 ", "then ", "schön ", "rain ", "\ud83d", "\ude00", "over ", "x")


WORDS_A_STEP: Final = (0, 1, 2, 3, 4, 5, 5, 18)
"""The longest goes on for longer than a cancel may take."""

TIMERS_S: Final = ((0.05,), (0.5,), (1.0,), (0.05, 0.05), (0.3, 0.31))
"""Two at about the same time: the second one waits behind the first one's turn."""


class Step(Struct, frozen=True):
    """One superstep: a message of so many words, and steps of a tool beside it."""

    words: int
    pause_s: float
    tools: int = 0


class Plan(Struct, frozen=True):
    name: str
    steps: tuple[Step, ...] = (Step(3, 0.01),)
    end: End = "answer"
    troubles: tuple[Trouble, ...] = ()
    """By try, the first one first; beyond: none."""
    trouble_at: int = 0
    """Words that a try in trouble says before."""
    timers_s: tuple[float, ...] = ()
    """When each of its timers is to fire, if nobody speaks before."""
    timer_id: str = ""
    """Under which name; empty: each has its own."""
    questions: int = 1
    beside: int = 0
    """Parts that speak at the same time as its first step does, a message each."""

    def trouble(self, tries: int) -> Trouble:
        return self.troubles[tries - 1] if tries <= len(self.troubles) else "none"


class Plans:
    """Everything that is going to be said under one seed, by its text."""

    def __init__(self, random: Random, wide: Random | None = None) -> None:
        """`wide`: agents that work on several parts at once are drawn, too."""
        self._random = random
        self._wide = wide
        self._plans: dict[str, Plan] = {}

    def __len__(self) -> int:
        return len(self._plans)

    def new(self, *, calm: bool = False) -> Plan:
        """`calm`: answered at once, whatever else goes wrong."""
        name = f"m{len(self._plans) + 1}"
        plan = Plan(name) if calm else self._drawn(name)
        self._plans[name] = plan
        return plan

    def of(self, text: str) -> Plan:
        return self._plans.get(text) or Plan(text)

    def _drawn(self, name: str) -> Plan:
        random = self._random
        steps = tuple(
            Step(
                random.choice(WORDS_A_STEP), random.choice((0.0, 0.002, 0.02, 0.1, 0.3)), random.choice((0, 0, 0, 1, 2))
            )
            for _ in range(random.choice((1, 1, 1, 2, 3)))
        )
        end: End = "answer"
        if random.random() < 0.35:
            end = random.choice(("ask", "ask", "fail", "too_long", "revised"))
        troubles: tuple[Trouble, ...] = ()
        if random.random() < 0.3:
            troubles = tuple(random.choice(("retryable", *TROUBLES)) for _ in range(random.choice((1, 1, 2, 5))))
        return Plan(
            name,
            steps,
            end,
            troubles,
            trouble_at=random.randrange(4),
            timers_s=random.choice(TIMERS_S) if random.random() < 0.2 else (),
            timer_id=random.choice(("", "", "", "nudge")),
            questions=random.choice((1, 1, 2)),
            beside=self._wide.choice((0, 0, 1, 2, 4)) if self._wide else 0,
        )
