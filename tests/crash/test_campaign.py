"""The campaign, small enough for every run. `CRASH_CAMPAIGN=20,20,5,5` (kills, cuts, database restarts,
severed connections to the database) makes it the full one,
`CRASH_SEED=7` another one; outside of pytest: `python -m tests.crash.campaign`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.campaign import Campaign, summary, tell
from tests.crash.faults import Plan

SMALL = "4,4,1,1"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_kills_cuts_and_database_restarts_lose_double_and_mix_nothing(folder: Path) -> None:
    kills, cuts, restarts, severs = map(int, os.environ.get("CRASH_CAMPAIGN", SMALL).split(","))
    plan = Plan(int(os.environ.get("CRASH_SEED", "2026")), kills, cuts, restarts, severs)
    outcome = await Campaign(plan, folder, tell).run()
    tell(summary(plan, outcome))
    assert outcome.broken == []
    assert outcome.struck == {kind: count for kind, count in plan.counts().items() if count}
    assert outcome.turns == 6 * len(plan.faults())
