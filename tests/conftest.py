"""Databases for tests: one embedded server a PostgreSQL version and run, one fresh migrated database a test.

    database_url          a database of its own, in the version chosen by --pg, or by indirect parameter: 18 or 15
    new_database          the same as a function: new_database(15) → URL; for suites that are parametrised over stores
    own_server            a server of its own, with a migrated database, for tests that restart or kill it

A missing component fails the test that needs it; nothing here skips.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from unbroken.adapters.postgres.embedded import EmbeddedPostgres

TEMPLATE = "migrated"
SECOND_BIN = Path(os.environ.get("UNBROKEN_TEST_PG_BIN", "/usr/lib/postgresql/15/bin"))
BIN_DIRS: dict[int, Path | None] = {18: None, 15: SECOND_BIN}
"""PostgreSQL's programs by major version; None: the wheel's."""

for _name in [name for name in os.environ if name.startswith("UNBROKEN_") and not name.startswith("UNBROKEN_TEST_")]:
    del os.environ[_name]  # what the operator has set must not decide what a test sees
os.environ.pop("DATABASE_URL", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pg", type=int, default=18, choices=sorted(BIN_DIRS), help="PostgreSQL version for database_url")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: a long one that begins last would keep one process busy while the others are done.

    A file's tests stay together, and so do folders' but for that."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


def bin_dir_of(version: int) -> Path | None:
    """Fails the test if that version is not on this machine."""
    folder = BIN_DIRS[version]
    if folder is not None and not (folder / "initdb").exists():
        pytest.fail(
            f"PostgreSQL {version} is needed and not in {folder}: install postgresql-15 or set UNBROKEN_TEST_PG_BIN"
        )
    return folder


def on_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter: pytest's own are closed, and as root the server is not us."""
    folder = Path(tempfile.mkdtemp(prefix="unbroken-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared_server(open_folder: Path) -> Iterator[Callable[[int], str]]:
    """The URL of the run's server of a version, started when first asked for, with a migrated template database."""
    servers: dict[int, EmbeddedPostgres] = {}

    def url(version: int) -> str:
        if version not in servers:
            server = EmbeddedPostgres(open_folder / f"pg{version}", bin_dir_of(version))
            server.start()
            servers[version] = server
            _say(server.url, f"CREATE DATABASE {TEMPLATE}")
            migrate_now(on_database(server.url, TEMPLATE))
        return servers[version].url

    yield url
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    return (f"test_{number}" for number in count(1))


@pytest.fixture
def new_database(shared_server: Callable[[int], str], database_names: Iterator[str]) -> Iterator[Callable[[int], str]]:
    made: list[tuple[str, str]] = []

    def make(version: int) -> str:
        server, name = shared_server(version), next(database_names)
        _say(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        made.append((server, name))
        return on_database(server, name)

    yield make
    for server, name in made:
        _say(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(request: pytest.FixtureRequest, new_database: Callable[[int], str]) -> str:
    return new_database(getattr(request, "param", request.config.getoption("--pg")))


@pytest.fixture
def own_server(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[EmbeddedPostgres]:
    version = getattr(request, "param", request.config.getoption("--pg"))
    data_dir = Path(tempfile.mkdtemp(prefix="own-", dir=open_folder))
    data_dir.chmod(0o755)
    with EmbeddedPostgres(data_dir, bin_dir_of(version)) as server:
        migrate_now(server.url)
        yield server


def _say(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def migrate_now(url: str) -> None:
    from unbroken.adapters.postgres.migrate import migrate

    _run(migrate(url))


def _run(work: Coroutine[Any, Any, Any]) -> None:
    """On a thread of its own: a fixture may first be asked for inside a running loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
