from __future__ import annotations

from tests.end_to_end.conftest import folder, thread

__all__ = ["folder", "thread"]
