from __future__ import annotations

from typing import Any, Final

from unbroken.adapters.postgres.group_commit import ARGUMENTS, GroupCommit
from unbroken.adapters.postgres.pool import Pool
from unbroken.adapters.postgres.rows import (
    claim_of,
    decode_logged,
    encode_json,
    event_of,
    placeholders,
    state_arguments,
)
from unbroken.domain.effects import LogEntry, NewEffect, SkipEvent
from unbroken.domain.ports.unit_of_work import UnitOfWork
from unbroken.domain.pruning import KEEP_BRANCHES, prunes
from unbroken.domain.turn import Committed, TurnChange

COMMIT_AND_PRUNE: Final = f"""
SELECT c.*, unbroken_prune_v1($1, ${ARGUMENTS + 1})
FROM unbroken_commit_v2({placeholders(1, ARGUMENTS)}) c
"""
"""One statement, one transaction: the commit's fence guards both, and its row has been made before it is pruned."""

NOTHING_OWED: Final[list[Any]] = [0, b"{}", *[None] * 7]


class PostgresUnitOfWork(UnitOfWork):
    def __init__(self, pool: Pool, *, keep_branches: int | None = KEEP_BRANCHES) -> None:
        """`keep_branches`: the latest events that can be gone back to, at least; None: nothing is ever pruned."""
        self._pool = pool
        self._group = GroupCommit(pool)
        self._keep_branches = keep_branches

    async def commit(self, change: TurnChange) -> Committed:
        claim = change.claim
        bodies = [encode_json("effect", effect.body) for effect in change.effects]
        prune = change.finishes and self._keep_branches is not None and prunes(claim.event.seq)
        arguments = [
            claim.key.thread_id,
            claim.owner,
            claim.epoch,
            claim.run,
            claim.event.seq,
            change.finishes,
            change.reverts,
            change.cancels,
            None if change.open_questions is None else list(change.open_questions),
            *state_arguments(change.state),
            *(_owed(change, bodies) if bodies else NOTHING_OWED),
        ]
        (row,) = await (
            self._pool.write(COMMIT_AND_PRUNE, *arguments, self._keep_branches)
            if prune
            else self._group.commit(arguments, size=_bytes(change, bodies))
        )
        if not change.finishes:
            return Committed()
        # Read back as they were stored, so that nobody is shown what the store does not hold.
        logged = [body for effect, body in zip(change.effects, bodies, strict=True) if effect.logged]
        first = row["log_index"] - len(logged) + 1
        entries = tuple(
            LogEntry(index, claim.event, decode_logged(body), dict(change.carrier))
            for index, body in enumerate(logged, first)
        )
        if not row["next_counted"]:
            return Committed(entries)
        following = claim_of(
            row,
            claim.key,
            event_of(row),
            owner=claim.owner,
            epoch=claim.epoch,
            superseded=row["superseded"],
            cancel=row["cancel"],
        )
        return Committed(entries, following)


def _bytes(change: TurnChange, bodies: list[bytes]) -> int:
    """What grows with what was said; the rest is small."""
    state = change.state
    return (
        sum(map(len, bodies))
        + sum(len(row.checkpoint) + len(row.metadata) for row in state.checkpoints)
        + sum(len(row.blob or b"") for row in state.blobs)
        + sum(len(row.blob) for row in state.writes)
    )


def _owed(change: TurnChange, bodies: list[bytes]) -> list[Any]:
    effects = change.effects
    places = _log_places(effects)
    return [
        sum(place is not None for place in places),
        encode_json("trace_context", change.carrier),
        [effect.ordinal for effect in effects],
        [effect.id for effect in effects],
        [effect.body.__struct_config__.tag for effect in effects],
        bodies,
        [effect.dedupe_key for effect in effects],
        places,
        [isinstance(effect.body, SkipEvent) for effect in effects],
    ]


def _log_places(effects: tuple[NewEffect, ...]) -> list[int | None]:
    """1, 2, 3 … for what clients see, relative to the log's end."""
    places: list[int | None] = []
    logged = 0
    for effect in effects:
        logged += effect.logged
        places.append(logged if effect.logged else None)
    return places
