"""The page's modules that need no browser keep their laws, in the language they are written in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.client.replay import PAGE
from tests.client.test_reducer_twins import HERE, node

SCRIPTS = sorted(path for path in PAGE.rglob("*.js") if "vendor" not in path.parts)


def test_the_pages_modules_keep_their_laws() -> None:
    ran = subprocess.run(
        [node(), "--test", str(HERE / "page_modules.test.js")], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout[-6_000:] + ran.stderr[-2_000:]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(PAGE)))
def test_every_script_is_short_and_well_formed(path: Path) -> None:
    ran = subprocess.run([node(), "--check", str(path)], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = path.read_text().splitlines()
    assert len(lines) <= 400
    assert max(map(len, lines)) <= 120
