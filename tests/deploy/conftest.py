from __future__ import annotations

from tests.end_to_end.conftest import folder, pytest_runtest_makereport

__all__ = ["folder", "pytest_runtest_makereport"]
