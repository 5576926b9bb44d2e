"""All cases, in both languages."""

from __future__ import annotations

from tests.stock import disturbing, keeping, running, streaming
from tests.stock.cases import CASES, Case
from tests.stock.node import js_cases

PLAYED = (streaming, running, disturbing, keeping)
"""Their import is what registers them."""


def all_cases() -> list[Case]:
    return [*CASES.values(), *js_cases()]
