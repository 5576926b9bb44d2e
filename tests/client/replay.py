"""One step of a trace, done to the Python reducer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unbroken.entrypoints.client.reducer import Conversation

TRACES = sorted((Path(__file__).parent / "traces").glob("*.json"))
PAGE = Path(__file__).parents[2] / "entrypoints" / "page"


def load(path: Path) -> dict[str, Any]:
    trace: dict[str, Any] = json.loads(path.read_text())
    return trace


def do(conversation: Conversation, step: dict[str, Any]) -> None:
    match step:
        case {"frame": frame}:
            conversation.apply(frame)
        case {"send": [request_id, content, *options]}:
            conversation.send(request_id, content, *options)
        case {"discard": request_id}:
            conversation.discard(request_id)
        case {"respond": [request_id, interrupt_id, value]}:
            conversation.respond(request_id, interrupt_id, value)
        case {"cancel": request_id}:
            conversation.cancel(request_id)
        case {"history": page}:
            conversation.history(page)
        case {"connected": True}:
            conversation.connected()
        case _:
            raise AssertionError(f"no such step: {step}")


def difference(view: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """The first place where a view is not what a step expects; None if it is."""
    for key, wanted in expected.items():
        if key != "turns":
            if view[key] != wanted:
                return f"{key}: {view[key]!r} instead of {wanted!r}"
            continue
        shown = [turn["requestId"] for turn in view["turns"]]
        if shown != [turn["requestId"] for turn in wanted]:
            return f"turns: {shown} instead of {[turn['requestId'] for turn in wanted]}"
        for turn, part in zip(view["turns"], wanted, strict=True):
            for name, value in part.items():
                if turn[name] != value:
                    return f"{turn['requestId']}.{name}: {turn[name]!r} instead of {value!r}"
    return None
