"""Sequence numbers of the agent protocol: what they are made of."""

from __future__ import annotations

import itertools

from unbroken.domain.live_stream import MAX_GROWN_UNITS, MAX_STEPS, MAX_TOOL_STEPS, MAX_UNITS
from unbroken.entrypoints.agent_protocol import positions


def test_every_position_lies_within_its_own_part_of_the_numbers() -> None:
    attempt = 2**25 - 1
    order = [
        positions.before(attempt),
        positions.began(attempt, 0),
        positions.began(attempt, 63),
        positions.live(attempt, 0, 0),
        positions.text(attempt, 1),
        positions.live(attempt, MAX_UNITS + MAX_GROWN_UNITS + MAX_STEPS + MAX_TOOL_STEPS, 6),
        positions.ended(attempt, 1),
        positions.ended(attempt, positions.VALUES),
        positions.ended(attempt, positions.NAMESPACES),
        positions.ended(attempt, positions.NAMESPACES + 6 * 20_000),
        positions.ended(attempt, positions.QUESTIONS),
        positions.ended(attempt, positions.INTERRUPTED),
        positions.before(attempt + 1) + 1,
    ]
    assert all(one < other for one, other in itertools.pairwise(order))
    assert order[-1] <= 2**53
    assert [positions.attempt_of(seq) for seq in order[1:-1]] == [attempt] * 11
    assert positions.attempt_of(order[0]) == attempt - 1
