from __future__ import annotations

from unbroken.entrypoints.web.abuse import AbuseCounter


def test_twenty_bad_frames_in_ten_seconds_are_too_many() -> None:
    counter = AbuseCounter()
    assert [counter.bad(0.5 * n) for n in range(20)] == [False] * 19 + [True]


def test_nineteen_bad_frames_in_any_ten_seconds_are_borne_for_ever() -> None:
    counter = AbuseCounter()
    assert not any(counter.bad(n * 10 / 18.9) for n in range(1_000))


def test_a_hundred_frames_too_fast_are_too_many_and_bad_ones_do_not_count_among_them() -> None:
    counter = AbuseCounter()
    assert not any(counter.bad(0.0) for _ in range(19))
    assert [counter.too_fast(0.0) for _ in range(100)] == [False] * 99 + [True]
