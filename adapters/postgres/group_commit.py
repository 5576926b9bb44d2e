"""Commits of several sessions that come at about the same time share a transaction; each is fenced by itself.

One that comes alone goes at once. While the latest is under way, others gather; they leave together when it has ended,
when they are as many or as large as may be, or when it has taken GATHER_S: then it waits for a row or for the network,
and whoever comes later must not wait with it.

A shared transaction that was refused has written nothing: each of its commits is sent again alone, and gets the answer
that is its own. If it could not be sent, none of them could. If the answer was lost, each of them is in doubt.

Locks: of several sessions, so in the order of their ids, as everybody who locks more than one. While a transaction
waits for one session all the others in it wait, too; so it gives up after LOCK_PATIENCE_MS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import copy_context
from functools import cache
from typing import Any, Final

import asyncpg

from unbroken.adapters.postgres.pool import Pool, Row
from unbroken.adapters.postgres.rows import STATE_COLUMNS, placeholders
from unbroken.domain.errors import CommitUnknown, StoreUnavailable, Unavailable, UnbrokenError

log = logging.getLogger(__name__)

MOST: Final = 8
"""Commits in one transaction."""
MOST_BYTES: Final = 256 * 1024
"""Of all of them together. A larger one goes alone: the others would wait for it."""
GATHER_S: Final = 0.02
LOCK_PATIENCE_MS: Final = 50

ARGUMENTS: Final = 9 + STATE_COLUMNS + 9
COMMIT: Final = f"SELECT * FROM unbroken_commit_v2({placeholders(1, ARGUMENTS)})"


@cache
def commits(count: int) -> str:
    """One statement for several commits, each a call of its own, in this order; `place` tells whose row it is.

    Each refers to `patience`, so it has been set before the first of them begins. It ends with the transaction.
    """
    calls = " UNION ALL ".join(
        f"SELECT {place} AS place, c.* FROM unbroken_commit_v2({placeholders(1 + place * ARGUMENTS, ARGUMENTS)}) c"
        " WHERE patience.ms <> ''"
        for place in range(count)
    )
    patience = f"SELECT set_config('lock_timeout', '{LOCK_PATIENCE_MS}', true) AS ms"
    return f"SELECT called.* FROM ({patience}) patience CROSS JOIN LATERAL ({calls}) called"


class _Member:
    __slots__ = ("arguments", "context", "outcome", "size")

    def __init__(self, arguments: Sequence[Any], size: int) -> None:
        self.arguments = arguments
        self.size = size
        self.outcome: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        """None: nothing was written, it is to go alone."""
        self.context = copy_context()


class GroupCommit:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._latest: object | None = None
        """What was sent last, while it is under way."""
        self._gathered: list[_Member] = []
        self._leaves: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def commit(self, arguments: Sequence[Any], *, size: int) -> Sequence[Row]:
        """COMMIT's row for its `arguments`, the thread's id first, which are about `size` bytes.

        Whoever is cancelled before it is sent has done nothing; afterwards it runs to its end. Raises as `Pool.write`.
        """
        if self._latest is not None and size <= MOST_BYTES:
            row = await self._gather(_Member(arguments, size))
            if row is not None:
                return [row]
        return await self._alone(arguments)

    async def _alone(self, arguments: Sequence[Any]) -> Sequence[Row]:
        mine = self._latest = object()
        try:
            return await self._pool.write(COMMIT, *arguments)
        finally:
            self._ended(mine)

    def _gather(self, member: _Member) -> asyncio.Future[Row | None]:
        if sum(other.size for other in self._gathered) + member.size > MOST_BYTES:
            self._leave()
        self._gathered.append(member)
        if len(self._gathered) == MOST:
            self._leave()
        elif self._leaves is None:
            self._leaves = asyncio.get_running_loop().call_later(GATHER_S, self._leave)
        return member.outcome

    def _leave(self) -> None:
        if self._leaves is not None:
            self._leaves.cancel()
            self._leaves = None
        # Of a caller that was cancelled meanwhile the outcome is done, and nothing is sent.
        members = [member for member in self._gathered if not member.outcome.done()]
        self._gathered = []
        if len(members) == 1:
            members[0].outcome.set_result(None)
        elif members:
            self._latest = members
            # One statement has one place in one story: the first member's.
            task = asyncio.get_running_loop().create_task(self._send(members), context=members[0].context)
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, members: list[_Member]) -> None:
        ordered = sorted(members, key=lambda member: str(member.arguments[0]))
        arguments = [argument for member in ordered for argument in member.arguments]
        try:
            rows = await self._pool.write(commits(len(ordered)), *arguments)
            outcomes = {row["place"]: row for row in rows}
            for place, member in enumerate(ordered):
                _settle(member, outcomes[place])
        except CommitUnknown as error:
            for member in ordered:
                _settle(member, CommitUnknown(str(error)))
        except (UnbrokenError, AssertionError) as error:
            _refused(ordered, error)
        except Exception as error:
            # A defect, the driver's or ours: it may have come before or after the server's word.
            log.exception("what became of %d commits is not known", len(ordered))
            for member in ordered:
                _settle(member, CommitUnknown(f"the commit ended in a defect: {error!r}"))
        finally:
            for member in ordered:
                member.outcome.cancel()  # the process ends: nobody may wait for ever
            self._ended(members)

    def _ended(self, sent: object) -> None:
        if sent is self._latest:
            self._latest = None
            self._leave()


def _refused(members: list[_Member], error: Exception) -> None:
    """Nothing was written. Where that is the server's word, somebody among them is to blame, and will hear of it."""
    if isinstance(error, StoreUnavailable) and not isinstance(error.__cause__, asyncpg.PostgresError):
        # Nobody is, and each alone would wait as long again.
        for member in members:
            _settle(member, StoreUnavailable(str(error)))
        return
    log.info("%d commits go alone, as one of them was refused: %s", len(members), type(error).__name__)
    for member in members:
        _settle(member, None)


def _settle(member: _Member, outcome: Row | Unavailable | None) -> None:
    if member.outcome.done():  # its caller was cancelled
        return
    if isinstance(outcome, Unavailable):
        member.outcome.set_exception(outcome)
    else:
        member.outcome.set_result(outcome)
