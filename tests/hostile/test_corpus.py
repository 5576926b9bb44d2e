"""Inputs that a fuzzer once found its way with: each is taken or refused, and none is an accident."""

from __future__ import annotations

import pytest

from tests.hostile.one_input import CORPUS, seeds, try_input

KEPT = sorted(CORPUS.iterdir())


def test_there_is_a_corpus_and_it_is_small() -> None:
    assert 20 < len(KEPT) <= 120
    assert sum(path.stat().st_size for path in KEPT) < 100_000


@pytest.mark.parametrize("number", range(0, 120, 20))
def test_what_once_reached_new_code_still_breaks_nothing(number: int) -> None:
    for path in KEPT[number : number + 20]:
        try_input(path.read_bytes())


def test_the_fuzzer_begins_with_inputs_that_break_nothing() -> None:
    for seed in seeds(40):
        try_input(seed)
