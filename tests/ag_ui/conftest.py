"""One server for this folder, without a database: what is durable is tested elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import folder, pytest_runtest_makereport
from tests.end_to_end.server import Server

__all__ = ["folder", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def memory_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        tmp_path_factory.mktemp("memory"), arguments=["--in-memory"], environment={"UNBROKEN_READER_STALL_S": "1"}
    ) as server:
        yield server
