"""A committed checkpoint's values as clients read them: plain JSON, messages as LangChain writes them."""

from __future__ import annotations

from typing import Any

import msgspec
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from unbroken.adapters.langgraph.messages import as_json
from unbroken.adapters.langgraph.rows import channel_values
from unbroken.domain.checkpoints import StoredCheckpoint


def state_values(stored: StoredCheckpoint) -> bytes:
    """LangGraph's own channels are not among them."""
    inlined: dict[str, Any] = msgspec.json.decode(stored.row.checkpoint).get("channel_values") or {}
    values = channel_values(JsonPlusSerializer(), inlined, stored.blobs)
    shown = {name: value for name, value in values.items() if not name.startswith(("__", "branch:"))}
    return msgspec.json.encode(as_json(shown))
