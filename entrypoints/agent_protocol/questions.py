"""Which questions of a session are open, read from the end of its log."""

from __future__ import annotations

from typing import Final

from unbroken.domain.effects import CloseQuestion, RequestInput, SendMessage
from unbroken.domain.errors import NotYourThread
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import SessionKey

WINDOW: Final = 32
FARTHEST: Final = 1_024
"""Log entries that are looked through: an older question has been left behind."""


async def open_questions(sessions: Sessions, outbox: Outbox, key: SessionKey) -> dict[str, RequestInput]:
    """By the ids under which clients know them, the oldest first. Raises NotYourThread, ThreadDeleted,
    StoreUnavailable."""
    view = await sessions.view(key.thread_id)
    if view is None:
        return {}
    if view.key != key:
        raise NotYourThread(key.thread_id)
    closed: set[str] = set()
    found: dict[str, RequestInput] = {}
    end = view.log_index
    least = max(view.log_floor, end - FARTHEST)
    while end > least:
        after = max(least, end - WINDOW)
        for entry in reversed(await outbox.read(key.thread_id, after=after, limit=end - after)):
            match entry.body:
                case CloseQuestion(interrupt_id):
                    closed.add(interrupt_id)
                case RequestInput(interrupt_id) as question if interrupt_id not in closed:
                    found[interrupt_id] = question
                case SendMessage(waiting=False):
                    return dict(reversed(found.items()))
        end = after
    return dict(reversed(found.items()))
