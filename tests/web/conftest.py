"""The socket's rules are tested over a real one: one server for this folder, without a database."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import pytest_runtest_makereport
from tests.end_to_end.server import Server
from tests.web.tokens import SECRET

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def memory_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        tmp_path_factory.mktemp("memory"), arguments=["--in-memory"], environment={"UNBROKEN_READER_STALL_S": "1"}
    ) as server:
        yield server


@pytest.fixture
def thread(request: pytest.FixtureRequest) -> str:
    """A thread of the test's own."""
    return re.sub(r"[^A-Za-z0-9_.-]", ".", str(request.node.name))[:120]


@pytest.fixture(scope="session")
def token_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that knows its callers by tokens, and lets each of them take little."""
    settings = {
        "UNBROKEN_AUTH": "jwt",
        "UNBROKEN_JWT_KEY": SECRET,
        "UNBROKEN_JWT_COOKIE": "session",
        "UNBROKEN_ALLOWED_ORIGINS": "https://app.example",
        "UNBROKEN_USER_SOCKETS": "3",
        "UNBROKEN_USER_MESSAGES_PER_MIN": "6",
        "UNBROKEN_USER_THREADS": "2",
        "UNBROKEN_LOG_LEVEL": "debug",
    }
    with Server(tmp_path_factory.mktemp("tokens"), arguments=["--in-memory"], environment=settings) as server:
        yield server
