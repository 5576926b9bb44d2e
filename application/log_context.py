"""For whom the code at hand works: the ids that its log lines carry. Nothing is decided by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

NOBODY: Final[Mapping[str, object]] = {}

_ids: ContextVar[Mapping[str, object]] = ContextVar("unbroken_log_ids", default=NOBODY)


@contextmanager
def working_for(**ids: object) -> Iterator[None]:
    """Within the block, and in every task begun in it, log lines carry `ids` besides those around the block. None
    takes one away: a turn outlives the connection that its task was begun by."""
    merged = {**_ids.get(), **ids}
    token = _ids.set({name: value for name, value in merged.items() if value is not None})
    try:
        yield
    finally:
        _ids.reset(token)


def worked_for() -> Mapping[str, object]:
    """The ids of the code at hand."""
    return _ids.get()
