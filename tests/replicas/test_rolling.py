"""Rolling restarts, short enough for every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replicas.people import Habits
from tests.replicas.rolling import Rolling, figures
from tests.replicas.test_replicas import folder  # noqa: F401

LIVELY = Habits(pause_s=(0.3, 1.5), messages=(3, 8), word_pause_s=0.03, leaves=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.asyncio
async def test_no_client_sees_more_than_a_reconnect(folder: Path, *, before: bool) -> None:  # noqa: F811
    rolling = Rolling(3, folder, people=10, bus="nats", before=before, tell=print, replicas=2, habits=LIVELY)
    outcome = await rolling.roll(1, between_s=1.0)
    assert outcome.verdict.broken == []
    assert len(outcome.restarts) == 2
    assert outcome.closes["1012"] > 0
    assert all(sight.end_s is not None for sight in outcome.verdict.sights)
    assert figures(outcome, "nats", before=before, people=10)["met_a_restart"] != 0
