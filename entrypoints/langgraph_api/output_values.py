"""What a graph gives away of its state: only what its output schema has, in `values` and `updates` of the root graph.
A subgraph's are narrowed where they are made, and a thread's state shows everything. Sans I/O."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

INTERRUPT: Final = "__interrupt__"
ALWAYS: Final = frozenset({INTERRUPT, "__metadata__"})
"""Of LangGraph's own, beside the state's."""
NARROWED: Final = frozenset({"values", "updates"})


def narrowed(method: str, data: bytes, outputs: Collection[str]) -> bytes:
    """`data`: JSON of the stream mode `method`, one of NARROWED. `outputs`: names of what is given away."""
    said = msgspec.json.decode(data)
    if not isinstance(said, dict):
        return data
    if method == "values":
        return msgspec.json.encode(_kept(said, outputs))
    return msgspec.json.encode({node: said[node] if node in ALWAYS else _update(said[node], outputs) for node in said})


def _update(written: Any, outputs: Collection[str]) -> Any:
    """Of one node; of its several writes or runs, a list. None: nothing is left."""
    if isinstance(written, list):
        left = [kept for one in written if (kept := _update(one, outputs)) is not None]
        return left if len(left) > 1 else left[0] if left else None
    return (_kept(written, outputs) or None) if isinstance(written, dict) else written


def _kept(values: dict[str, Any], outputs: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in outputs or name == INTERRUPT}
