from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.conftest import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture
def folder(open_folder: Path) -> Path:
    """For one test's servers, databases and recordings."""
    path = Path(tempfile.mkdtemp(prefix="crash-", dir=open_folder))
    path.chmod(0o755)
    return path
