"""One server for this folder, without a database: what is durable is tested elsewhere."""

from __future__ import annotations

from tests.end_to_end.conftest import pytest_runtest_makereport
from tests.web.conftest import memory_server

__all__ = ["memory_server", "pytest_runtest_makereport"]
