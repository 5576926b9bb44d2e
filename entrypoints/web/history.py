"""A page of a thread's past, as the same frames that the socket would have sent."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.domain.errors import InvalidValue, NotYourThread
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.sessions import Sessions
from unbroken.entrypoints.web.frames import ServerFrame
from unbroken.entrypoints.web.rendering import logged_frame, user_frame

MAX_PAGE = 200


async def history_page(
    sessions: Sessions, outbox: Outbox, user_id: str, thread_id: str, before: int | None, limit: int
) -> dict[str, Any]:
    """The `limit` log entries below cursor `before` (None: the newest), oldest first, each user's event before
    its own entries.

    `cursor`: the log's end, where a socket goes on; `before`: pass it to read further back, null at the beginning.
    Raises InvalidValue, NotYourThread (also for a thread that does not exist), ThreadDeleted, StoreUnavailable.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidValue("limit", f"must be from 1 to {MAX_PAGE}")
    view = await sessions.view(thread_id)
    if view is None or view.key.user_id != user_id:
        raise NotYourThread(thread_id)
    end = view.log_index if before is None else min(before - 1, view.log_index)
    start = max(view.log_floor, end - limit)
    entries = await outbox.read(thread_id, after=start, limit=end - start) if end > start else ()
    frames: list[ServerFrame] = []
    seen = 0
    for entry in entries:
        if entry.event.seq > seen and entry.event.from_user:
            frames.append(user_frame(entry.event))
        seen = entry.event.seq
        frames.append(logged_frame(entry))
    return {
        "messages": [msgspec.to_builtins(frame) for frame in frames],
        "cursor": view.log_index,
        "before": start + 1 if start > view.log_floor else None,
    }
