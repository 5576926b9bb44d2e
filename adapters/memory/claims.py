"""Counting an attempt, wherever it is counted: by an accept, by a claim, by the commit that ends the event before."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from unbroken.adapters.memory.tables import AgentState, Session
from unbroken.adapters.memory.transactions import Transaction
from unbroken.domain.audit import AttemptNote, Why
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.session import Claim


def count_attempt(
    transaction: Transaction,
    session: Session,
    replica: int,
    now: datetime,
    why: Why | None = None,
    because: str | None = None,
) -> tuple[Session, Claim]:
    """Count the next attempt at the first unfinished event, for `replica`, before it runs (I14).

    The epoch grows when the owner changes, and when an attempt is repeated: whoever runs the former one is fenced.
    `why` None: as what stands in the session makes it.
    """
    same = session.owner == replica
    note = AttemptNote(session.run + 1, now, replica, why or _why(transaction, session, replica))
    state = transaction.agent_states.get(session.key.thread_id) or AgentState()
    head = state.heads.get(ROOT)
    none = "" if why == "accepted" and not state.checkpoints else None
    if session.tries:
        note = replace(note, because=because if same else None, head=head.checkpoint_id if head else "")
    counted = replace(
        session,
        owner=replica,
        epoch=session.epoch if same and not session.tries else session.epoch + 1,
        run=session.run + 1,
        tries=session.tries + 1,
        attempts=(*(session.attempts if session.tries else ()), note),
    )
    event = session.event(session.applied_seq + 1)
    claim = Claim(
        key=session.key,
        owner=replica,
        epoch=counted.epoch,
        event=event,
        run=counted.run,
        tries=counted.tries - (handed_over := sum(earlier.released for earlier in counted.attempts)),
        head=head.checkpoint_id if head else none,
        base_head=head.base_id if head else none,
        head_event=session.head_event,
        log_index=session.log_index,
        superseded=session.last_user_seq > event.seq,
        taken_over=not same and (session.owner is not None or session.tries > 0),
        handed_over=handed_over,
        cancel=session.controls.get(event.seq),
        open_questions=session.open_questions,
    )
    return counted, claim


def _why(transaction: Transaction, session: Session, replica: int) -> Why:
    if not session.tries:
        return "found"
    if session.owner == replica:
        return "again"
    return "owner_gone" if session.owner is None or transaction.leases.get(session.owner) is None else "lease_expired"
