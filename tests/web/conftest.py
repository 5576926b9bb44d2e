"""The socket's rules are tested over a real one: one server for this folder, without a database."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import pytest_runtest_makereport
from tests.end_to_end.server import Server

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
