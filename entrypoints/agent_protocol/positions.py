"""`seq`: where an event stands in its thread, as one number. Nothing counts it: it follows from what is told.

    attempt << 28 | n                              n < 64: how the attempt begins
    attempt << 28 | (place + 8) << 3 | sub         live: of the part that stands at `place` of the attempt's stream
    attempt << 28 | 1 << 27 | n                    how the attempt ended its event: from the log

What an end tells depends on what was told before it: messages that are open end, and subgraphs that are at work do.
Whoever reads the log alone is told none of that, so the state and the questions that follow have numbers of their own,
whatever comes before them.

Attempts only grow, so `seq` does, whoever tells it. The largest is below 2^53, which JSON readers keep exact, for
2^25 attempts of one thread. Text is numbered by where it ends, so that who has seen some of it can be given the rest
however its parts are cut elsewhere; everything else by where its part begins.
"""

from __future__ import annotations

from typing import Final

ATTEMPT: Final = 28
_ENDED: Final = 1 << 27
_TEXT: Final = 7
_FIRST: Final = 8
"""Of places, as they are numbered."""
VALUES: Final = 1 << 25
"""As `n` of `ended`: the committed state, behind all messages and tools."""
NAMESPACES: Final = VALUES + 1
"""As `n` of `ended`: the first subgraph that was at work; there are fewer than steps in an attempt."""
QUESTIONS: Final = 1 << 26
"""As `n` of `ended`: the first question."""
INTERRUPTED: Final = _ENDED - 1
"""As `n` of `ended`: behind all questions, however many there are."""


def began(attempt: int, n: int) -> int:
    return attempt << ATTEMPT | n


def live(attempt: int, place: int, sub: int) -> int:
    """`sub` < 7."""
    return attempt << ATTEMPT | (place + _FIRST) << 3 | sub


def text(attempt: int, end: int) -> int:
    """Of text that ends before place `end`."""
    return attempt << ATTEMPT | (end - 1 + _FIRST) << 3 | _TEXT


def ended(attempt: int, n: int) -> int:
    return attempt << ATTEMPT | _ENDED | n


def attempt_of(seq: int) -> int:
    return seq >> ATTEMPT


def is_ended(seq: int) -> bool:
    """Whether it is of an event's end, or of what stands behind one."""
    return bool(seq & _ENDED)


def before(attempt: int) -> int:
    """Everything of earlier attempts, and nothing of this one."""
    return (attempt << ATTEMPT) - 1


def text_seen(since: int, attempt: int, begin: int, end: int) -> int:
    """How many units of the text at `begin` … `end` somebody has seen who has seen everything up to `since`."""
    if attempt_of(since) != attempt:
        return 0 if attempt_of(since) < attempt else end - begin
    if is_ended(since):
        return end - begin
    place = ((since & (_ENDED - 1)) >> 3) - _FIRST
    """Of the last unit of the text whose `seq` this is; of anything else, where its part begins."""
    if since & 7 == _TEXT:
        place += 1
    return min(max(0, place - begin), end - begin)
