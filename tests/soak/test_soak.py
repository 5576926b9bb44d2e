"""The soak, short enough for every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.picture import draw
from tests.soak.soak import Soak

SECONDS = 10.0


@pytest.mark.slow
@pytest.mark.asyncio
async def test_people_who_talk_under_faults_lose_nothing(open_folder: Path, tmp_path: Path) -> None:
    folder = open_folder / "soak"
    folder.mkdir(mode=0o755)
    outcome = await Soak(7, folder, people=6, tell=print).last(SECONDS)
    assert outcome.broken == []
    assert outcome.struck
    assert outcome.messages > 10
    assert all(latency.end_s is not None for latency in outcome.latencies)
    draw(outcome, tmp_path / "soak.svg")
    assert (tmp_path / "soak.svg").stat().st_size > 10_000
