"""What of an agent's state is removed in a finishing commit: everything that nothing goes back to any more."""

from __future__ import annotations

from collections.abc import Iterator

from unbroken.adapters.memory.agent_state import kept
from unbroken.adapters.memory.encoding import decode_checkpoint, decode_json
from unbroken.adapters.memory.sessions import first_of
from unbroken.adapters.memory.tables import AgentState, Session
from unbroken.domain.checkpoints import ROOT

DELTA_MARKS = ("counters_since_delta_snapshot", "delta_writes_versioned")
"""Metadata by which the official saver knows that a checkpoint's value is spread over its ancestors' writes."""


def pruned(state: AgentState, session: Session, keep: int) -> AgentState:
    """Keeps the heads, their bases, and where the last `keep` events began (or the first of those that they replaced):
    of another namespace, the last checkpoint
    before each of those places. Nothing changes while a question is open or where a DeltaChannel's history lies."""
    tip = state.heads[ROOT].checkpoint_id if ROOT in state.heads else ""
    if session.open_questions or not tip:
        return state
    first = session.applied_seq - keep
    latest = (session.event(seq).request_id for seq in range(max(1, first + 1), session.applied_seq + 1))
    begun = {first_of(session, request_id) for request_id in latest}
    bases = {row.base_id for row in session.effects.values() if row.event_seq in begun and row.base_id}
    stays = {place for place in _places(state, bases) if place in state.checkpoints}
    if any(_is_delta(state.checkpoints[place]) for place in stays):
        return state
    return kept(state, stays | {place for place in state.checkpoints if place[1] >= tip})


def _places(state: AgentState, bases: set[str]) -> Iterator[tuple[str, str]]:
    for base in bases:
        yield ROOT, base
    for ns, head in state.heads.items():
        yield ns, head.checkpoint_id
        yield ns, head.base_id
        if ns != ROOT:
            yield from ((ns, state.highest(ns, below=base)) for base in bases)


def _is_delta(encoded: bytes) -> bool:
    return not decode_json(decode_checkpoint(encoded).metadata).keys().isdisjoint(DELTA_MARKS)
