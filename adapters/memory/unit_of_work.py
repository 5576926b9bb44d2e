from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from unbroken.adapters.memory.agent_state import at_rest, extended, reverted
from unbroken.adapters.memory.claims import count_attempt
from unbroken.adapters.memory.encoding import encode_json
from unbroken.adapters.memory.pruning import pruned
from unbroken.adapters.memory.tables import AgentState, Effect, Session
from unbroken.adapters.memory.transactions import Database, Transaction
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.effects import EffectStatus, NewEffect, SkipEvent
from unbroken.domain.errors import CancelRequested, Fenced
from unbroken.domain.ports.clock import Clock
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.pruning import KEEP_BRANCHES, prunes
from unbroken.domain.session import Claim
from unbroken.domain.turn import Committed, TurnChange


class MemoryUnitOfWork(UnitOfWork):
    def __init__(self, database: Database, clock: Clock, *, keep_branches: int | None = KEEP_BRANCHES) -> None:
        """`keep_branches`: the latest events that can be gone back to, at least; None: nothing is ever pruned."""
        self._database = database
        self._clock = clock
        self._keep_branches = keep_branches

    async def commit(self, change: TurnChange) -> Committed:
        def step(transaction: Transaction) -> Committed:
            claim = change.claim
            session = _fenced(transaction, claim)
            seq = claim.event.seq
            if change.finishes and not change.cancels and seq in session.controls:
                raise CancelRequested(session.controls[seq])
            base_id = _root_base(transaction, claim.key.thread_id)
            session, state = _moved(transaction, session, change)
            transaction.agent_states.put(claim.key.thread_id, state)
            if not change.finishes:
                transaction.put_session(session)
                return Committed()
            head = state.heads.get(ROOT)
            first = session.log_index + 1
            now = self._clock.now()
            for effect in change.effects:
                session = _owing(session, change, effect, head.checkpoint_id if head else None, base_id, now)
            session = _told(session, change.effects)
            entries = [session.entry(index) for index in range(first, session.log_index + 1)]
            session = replace(
                session,
                applied_seq=seq,
                tries=0,
                controls={marked: kind for marked, kind in session.controls.items() if marked > seq},
                cancelled_at={marked: at for marked, at in session.cancelled_at.items() if marked > seq},
                attempts=(),
            )
            if change.open_questions is not None:
                session = replace(session, open_questions=change.open_questions)
            if self._keep_branches is not None and prunes(seq):
                pruned_state = pruned(state, session, self._keep_branches)
                transaction.agent_states.put(claim.key.thread_id, pruned_state)
            following = None
            if session.waiting:
                session, following = count_attempt(transaction, session, claim.owner, now, "next")
            transaction.put_session(session)
            return Committed(tuple(entries), following)

        return await self._database.run("commit", step)


def _fenced(transaction: Transaction, claim: Claim) -> Session:
    """The session, if `claim` is still the right to write to it (I5)."""
    session = transaction.sessions.get(claim.key.thread_id)
    if session is None or session.deleted:
        raise Fenced("the thread is gone")
    if transaction.leases.get(claim.owner) is None:
        raise Fenced(f"replica {claim.owner} has left, or was booted again")
    held = (claim.key, claim.owner, claim.epoch, claim.run, claim.applied_seq)
    if held != (session.key, session.owner, session.epoch, session.run, session.applied_seq):
        raise Fenced(f"attempt {claim.run} of event {claim.event.seq} is no longer the session's")
    return session


def _moved(transaction: Transaction, session: Session, change: TurnChange) -> tuple[Session, AgentState]:
    """The agent's state after this commit, and whose run wrote its head."""
    state = transaction.agent_states.get(session.key.thread_id) or AgentState()
    state = extended(state, change.state)
    if change.reverts:
        state = reverted(state)
        session = replace(session, head_event=min(session.head_event, session.applied_seq))
    elif any(checkpoint_ns == ROOT for checkpoint_ns, _ in change.state.heads):
        session = replace(session, head_event=change.claim.event.seq)
    return session, at_rest(state) if change.finishes else state


def _told(session: Session, effects: tuple[NewEffect, ...]) -> Session:
    """What was noted of the event's attempts and of its cancel goes with its first effect."""
    first = next((effect for effect in effects if effect.ordinal == 0), None)
    if first is None:
        return session
    row = session.effects[first.dedupe_key]
    row = replace(row, attempts=session.attempts, cancelled_at=session.cancelled_at.get(row.event_seq))
    return replace(session, effects={**session.effects, first.dedupe_key: row})


def _root_base(transaction: Transaction, thread_id: str) -> str:
    """Where the root head stood before the event; "": nowhere."""
    state = transaction.agent_states.get(thread_id) or AgentState()
    head = state.heads.get(ROOT)
    return head.base_id if head else state.highest(ROOT)


def _owing(
    session: Session, change: TurnChange, effect: NewEffect, checkpoint_id: str | None, base_id: str, now: datetime
) -> Session:
    """The session with one more effect: numbered for its clients, or to be executed."""
    if effect.dedupe_key in session.effects:
        raise AssertionError(f"effect {effect.dedupe_key!r} exists already")
    done = isinstance(effect.body, SkipEvent)
    row = Effect(
        event_seq=change.claim.event.seq,
        ordinal=effect.ordinal,
        id=effect.id,
        log_index=session.log_index + 1 if effect.logged else None,
        checkpoint_id=checkpoint_id,
        base_id=base_id,
        type=str(effect.body.__struct_config__.tag),
        body=encode_json("effect", effect.body),
        dedupe_key=effect.dedupe_key,
        status=EffectStatus.COMPLETED if done else EffectStatus.PENDING,
        created_at=now,
        updated_at=now,
        trace_context=encode_json("trace_context", change.carrier),
    )
    session = replace(session, effects={**session.effects, row.dedupe_key: row})
    if row.log_index is not None:
        return replace(session, log_index=row.log_index, log=(*session.log, row.dedupe_key))
    return session if done else replace(session, owed=(*session.owed, row.dedupe_key))
