"""Real processes, as end-to-end tests have them."""

from __future__ import annotations

from tests.end_to_end.conftest import Serving, folder, pytest_runtest_makereport, serving, thread

__all__ = ["Serving", "folder", "pytest_runtest_makereport", "serving", "thread"]
