"""LangGraph's clients end at Unbroken with what they do at LangGraph's server, or with a difference that is meant."""

from __future__ import annotations

import asyncio

import pytest

from tests.stock.cases import Stock, played
from tests.stock.players import all_cases
from tests.stock.reasons import REASONS
from tests.stock.records import DIFFERENT, ORACLE, expected, recorded
from tests.stock.stage import Stage

KILLING = [name for name in expected() if name.endswith("/kill")]


def test_every_case_is_recorded_and_every_difference_has_its_reason() -> None:
    names = {found.name for found in all_cases()}
    assert set(recorded(ORACLE)) == names
    assert set(recorded(DIFFERENT)) == set(REASONS)
    assert {found.name for found in all_cases() if found.kills} == set(KILLING)


@pytest.mark.parametrize("name", [name for name in expected() if name not in KILLING])
def test_a_stock_client_ends_with_what_was_recorded(stage: Stage, name: str) -> None:
    assert _played(name, stage) in expected()[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLING)
def test_a_stock_client_survives_a_kill_in_mid_answer(own_stage: Stage, name: str) -> None:
    assert _played(name, own_stage) in expected()[name]


def _played(name: str, stage: Stage) -> object:
    (found,) = [found for found in all_cases() if found.name == name]
    return asyncio.run(played(found, Stock(stage.url, stage.control)))
