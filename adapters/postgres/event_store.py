from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from unbroken.adapters.postgres.pool import Pool
from unbroken.adapters.postgres.rows import claim_of, decode_body, decode_trace, encode_json, placeholders
from unbroken.domain.events import Event, NewEvent, RunStart, TimerFired, WhenBusy, body_hash
from unbroken.domain.ports.event_store import EventStore, Receipt
from unbroken.domain.session import SessionKey

ACCEPT: Final = f"""
SELECT accepted.*,
    accepted.claimed AND accepted.head IS NULL AND NOT EXISTS (SELECT FROM checkpoints WHERE thread_id = $1) AS empty
FROM unbroken_accept_v3({placeholders(1, 16)}) accepted
"""
"""What was committed under no head of ours is another saver's, to be adopted. The turn need not look for it, though, if
there was none when its event came."""

ACCEPT_TEMPORARY: Final = f"""
WITH noted AS (INSERT INTO temporary_threads (thread_id, created_at) VALUES ($1, now()) ON CONFLICT DO NOTHING)
{ACCEPT}"""
"""Of a run whose thread is its own: whoever looks for what is left of such runs need not look at all threads."""


class PostgresEventStore(EventStore):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def accept(
        self,
        key: SessionKey,
        new: NewEvent,
        *,
        replica: int,
        queue_limit: int,
        when_busy: WhenBusy = WhenBusy.ENQUEUE,
    ) -> Receipt:
        payload = encode_json("body", new.body)
        trace = encode_json("trace_context", new.trace_context)
        timer = new.body if isinstance(new.body, TimerFired) else None
        temporary = isinstance(new.body, RunStart) and new.body.temporary
        (row,) = await self._pool.write(
            ACCEPT_TEMPORARY if temporary else ACCEPT,
            key.thread_id,
            key.user_id,
            key.agent_id,
            new.id,
            new.request_id,
            new.body.__struct_config__.tag,
            payload,
            body_hash(new.body),
            trace,
            new.from_user,
            timer.timer_id if timer else None,
            timer.generation if timer else None,
            replica,
            queue_limit,
            when_busy.value,
            new.waited_s,
        )
        duplicate = row["duplicate"]
        event = Event(
            seq=row["seq"],
            id=row["id"] if duplicate else new.id,
            request_id=new.request_id,
            body=decode_body(row["payload"] if duplicate else payload),
            created_at=row["created_at"],
            trace_context=decode_trace(row["trace_context"] if duplicate else trace),
        )
        if not row["claimed"]:
            return Receipt(event, duplicate, None)
        claim = claim_of(row, key, event, owner=replica, epoch=row["epoch"], taken_over=row["taken_over"])
        return Receipt(event, False, replace(claim, head="", base_head="") if row["empty"] else claim)
