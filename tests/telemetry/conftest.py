from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import pytest_runtest_makereport
from tests.telemetry.collector import Received, collector

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture
def folder(open_folder: Path) -> Path:
    path = Path(tempfile.mkdtemp(prefix="telemetry-", dir=open_folder))
    path.chmod(0o755)
    return path


@pytest.fixture
def collecting(folder: Path) -> Iterator[tuple[str, Received]]:
    """(the endpoint of a collector, what it passes on)."""
    with collector(folder) as running:
        yield running
