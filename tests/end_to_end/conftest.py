"""Real processes: one server with a database of its own for all tests that do it no harm."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import psycopg
import pytest
from msgspec import Struct

from tests.conftest import TEMPLATE, on_database
from tests.end_to_end.server import Server, started


class Serving(Struct):
    server: Server
    database_url: str

    @property
    def url(self) -> str:
        return self.server.url


@pytest.fixture(scope="session")
def serving(open_folder: Path, shared_server: Callable[[int], str]) -> Iterator[Serving]:
    admin_url = shared_server(18)
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE end_to_end TEMPLATE {TEMPLATE}".encode())
    database_url = on_database(admin_url, "end_to_end")
    folder = Path(tempfile.mkdtemp(prefix="serving-", dir=open_folder))
    with Server(folder, database_url=database_url, environment={"UNBROKEN_RETRY_BACKOFF_S": "0.05"}) as server:
        yield Serving(server, database_url)


@pytest.fixture
def folder(open_folder: Path) -> Path:
    """For one test's own server."""
    path = Path(tempfile.mkdtemp(prefix="end-to-end-", dir=open_folder))
    path.chmod(0o755)
    return path


@pytest.fixture
def thread(request: pytest.FixtureRequest) -> str:
    """A thread of the test's own."""
    return re.sub(r"[^A-Za-z0-9_.-]", ".", str(request.node.name))[:120]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the latest servers said."""
    report = yield
    if report.failed:
        for server in {server.log: server for server in started[-2:]}.values():
            report.sections.append((f"the server on port {server.port} said", server.said()[-5000:]))
    return report
