from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import migrate_now
from tests.end_to_end.conftest import pytest_runtest_makereport
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture
def folder(open_folder: Path) -> Path:
    """For one test's servers, databases and recordings."""
    path = Path(tempfile.mkdtemp(prefix="crash-", dir=open_folder))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def expendable_server(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A migrated server for one file's tests, each of which leaves it in working order."""
    data_dir = Path(tempfile.mkdtemp(prefix="expendable-", dir=open_folder))
    data_dir.chmod(0o755)
    with EmbeddedPostgres(data_dir) as server:
        migrate_now(server.url)
        yield server
