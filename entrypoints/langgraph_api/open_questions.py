"""Which questions of a session are open, read from the end of its log."""

from __future__ import annotations

from typing import Final

from unbroken.domain.effects import CloseQuestion, RequestInput, SendMessage
from unbroken.domain.errors import NotYourThread
from unbroken.domain.ports.outbox import Outbox
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import SessionKey

WINDOW: Final = 32
PAGE: Final = 100
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
    return await open_at(outbox, key.thread_id, view.log_index)


async def open_at(outbox: Outbox, thread_id: str, log_index: int) -> dict[str, RequestInput]:
    """As it was when the log ended there; so at an answer that waits, what earlier turns have asked and it has left
    open. Raises StoreUnavailable."""
    closed: set[str] = set()
    found: dict[str, RequestInput] = {}
    end = log_index
    least = max(0, end - FARTHEST)
    while end > least:
        after = max(least, end - WINDOW)
        entries = await outbox.read(thread_id, after=after, limit=end - after)
        kept = [entry for entry in entries if entry.log_index <= end]  # in place of what was removed, later ones come
        for entry in reversed(kept):
            match entry.body:
                case CloseQuestion(interrupt_id):
                    closed.add(interrupt_id)
                case RequestInput(interrupt_id) as question if interrupt_id not in closed:
                    found[interrupt_id] = question
                case SendMessage(waiting=False):
                    return dict(reversed(found.items()))
        if len(kept) < end - after:
            break
        end = after
    return dict(reversed(found.items()))


async def asked_by(outbox: Outbox, thread_id: str, event_id: str, end: int) -> list[RequestInput]:
    """What an event asks whose answer stands at `end` in the log: its questions follow there, and were committed with
    it. Raises StoreUnavailable."""
    found: list[RequestInput] = []
    after = end
    while True:
        entries = await outbox.read(thread_id, after=after, limit=PAGE)
        for entry in entries:
            if entry.event.id != event_id:
                return found
            if isinstance(entry.body, RequestInput):
                found.append(entry.body)
        if len(entries) < PAGE:
            return found
        after = entries[-1].log_index
