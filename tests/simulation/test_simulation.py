"""CI's share of the seeds. They run in a process of their own, in which sets of texts have an order that stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def simulated(*options: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--quiet", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
def test_two_thousand_seeds_break_no_promise_and_each_gives_the_same_again() -> None:
    told = simulated("--seeds", "2000", "--twice", "1")
    assert "seeds tried: 2,000, 2,000 of them twice" in told
    assert "violations: 0" in told


def test_what_was_found_once_is_not_there_any_more() -> None:
    simulated("--kept")
