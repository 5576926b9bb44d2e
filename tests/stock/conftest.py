"""One Unbroken with the project for all cases that do it no harm."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.browser import conftest as browsed
from tests.conftest import TEMPLATE, on_database
from tests.end_to_end import conftest as served
from tests.stock.servers import unbroken
from tests.stock.stage import Stage

pytest_runtest_makereport = served.pytest_runtest_makereport
browser, page = browsed.browser, browsed.page


@pytest.fixture
def own_stage(open_folder: Path, shared_server: Callable[[int], str]) -> Iterator[Stage]:
    """For a case that kills its server."""
    yield from _staged(open_folder, shared_server)


@pytest.fixture(scope="session")
def stage(open_folder: Path, shared_server: Callable[[int], str]) -> Iterator[Stage]:
    yield from _staged(open_folder, shared_server)


def _staged(open_folder: Path, shared_server: Callable[[int], str]) -> Iterator[Stage]:
    admin_url = shared_server(18)
    folder = Path(tempfile.mkdtemp(prefix="stock-", dir=open_folder))
    database = folder.name.replace("-", "_")
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}" TEMPLATE {TEMPLATE}'.encode())
    with unbroken(folder, on_database(admin_url, database)) as stage:
        yield stage
