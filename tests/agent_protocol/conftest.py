"""The protocol is tested over real sockets as the chat socket is: one server for this folder, without a database."""

from __future__ import annotations

from tests.end_to_end.conftest import pytest_runtest_makereport
from tests.web.conftest import memory_server, thread

__all__ = ["memory_server", "pytest_runtest_makereport", "thread"]
