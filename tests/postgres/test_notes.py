"""Where the notes of attempts and cancels lie: once, and with the event that they are of."""

from __future__ import annotations

import asyncpg
import pytest

from tests.contracts.conversation import Conversation, said
from tests.contracts.subjects import PostgresSubject
from unbroken.domain.effects import CancelTurn, ScheduleTimer

pytestmark = pytest.mark.asyncio

KEPT = "SELECT ordinal, attempts IS NOT NULL, cancelled_at IS NOT NULL FROM effects WHERE thread_id = $1 ORDER BY 1"


async def test_notes_go_to_the_first_effect_alone_and_leave_the_session(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.cancel(claim.event.request_id)
    await talk.finish(claim, CancelTurn("so far", claim.run), ScheduleTimer(1.0), cancels=True)
    assert [tuple(row) for row in await sql.fetch(KEPT, talk.thread_id)] == [(0, True, True), (1, False, False)]
    assert await sql.fetchval("SELECT attempts FROM sessions WHERE thread_id = $1", talk.thread_id) is None


async def test_a_cancel_that_came_too_late_is_not_the_next_event_s(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    """The mark of an event that ended meanwhile goes with the next one, which nobody has cancelled."""
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    await sql.execute(
        "INSERT INTO controls (thread_id, seq, kind, created_at) VALUES ($1, 1, 'cancel', now())", talk.thread_id
    )
    await talk.finish(await talk.accepted(), said("yes"))
    assert await sql.fetchval("SELECT count(*) FROM controls") == 0
    facts = await store.audit.session(talk.thread_id, limit=9)
    assert facts is not None
    assert [event.cancelled_at for event in facts.events] == [None, None]
