"""For whom the code at hand works: the ids that its log lines carry. Nothing is decided by them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

NOBODY: Final[dict[str, object]] = {}

_ids: ContextVar[dict[str, object]] = ContextVar("unbroken_log_ids", default=NOBODY)


class working_for:  # noqa: N801 - reads as what is done, and a generator's frame would stay with each idle connection
    """Within the block, and in every task begun in it, log lines carry `ids` besides those around the block. None
    takes one away: a turn outlives the connection that its task was begun by."""

    __slots__ = ("_given", "_token")

    def __init__(self, **ids: object) -> None:
        self._given = ids

    def __enter__(self) -> None:
        merged = _ids.get() | self._given
        self._token = _ids.set({name: value for name, value in merged.items() if value is not None})

    def __exit__(self, *error: object) -> None:
        _ids.reset(self._token)


def worked_for() -> Mapping[str, object]:
    """The ids of the code at hand."""
    return _ids.get()
