"""All cases, in both languages."""

from __future__ import annotations

from tests.stock import disturbing, keeping, running, streaming
from tests.stock.cases import CASES, Case

PLAYED = (streaming, running, disturbing, keeping)
"""Their import is what registers them."""


def all_cases() -> list[Case]:
    return list(CASES.values())
