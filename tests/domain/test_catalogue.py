"""What metadata contain, as PostgreSQL's `@>` has it; and that comparing them stays cheap."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.domain.catalogue import contains, weight


@pytest.mark.parametrize(
    ("value", "pattern", "holds"),
    [
        ([1, 2, 3], [3, 1, 3], True),
        ([1, 2], [3], False),
        ([1], [True], False),
        ([True, 0], [1], False),
        ([True, 0], [False], False),
        ([1], [1.0], True),
        ([[1, 2], 3], [[2]], True),
        ([[1, 2], 3], [[3]], False),
        ([{"a": 1, "b": 2}, "x"], [{"b": 2}, "x"], True),
        ([{"a": 1}], ["a"], False),
        (["a"], [["a"]], False),
        ({"a": {"b": [1, {"c": None}]}}, {"a": {"b": [{"c": None}]}}, True),
        ({"a": [1]}, {"a": 1}, False),
        ({"a": 1}, {"a": [1]}, False),
        ("ab", ["a"], False),
        ([], [], True),
    ],
)
def test_what_a_value_contains(value: Any, pattern: Any, holds: bool) -> None:
    assert contains(value, pattern) is holds


class Counted(int):
    """Tells how often it was compared."""

    compared = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return int.__eq__(self, other)


def test_a_long_list_of_what_is_looked_for_costs_no_product() -> None:
    value = [Counted(number) for number in range(1_000)]
    assert contains(value, [Counted(999) for _ in range(1_000)])
    assert Counted.compared < 10_000


def test_what_is_weighed_are_objects_and_lists() -> None:
    patterns: list[Any] = [1, "x", [], {}, {"a": [1, [2, {}]]}]
    assert [weight(one) for one in patterns] == [0, 0, 1, 1, 4]
