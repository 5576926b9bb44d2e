"""Commits that share a transaction: who goes alone, what neighbours of trouble get, and what a lost answer is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from tests.contracts.conversation import Conversation, said, state_at
from tests.contracts.subjects import PostgresSubject
from tests.postgres.test_lock_order import held
from tests.postgres.watching import somebody_waits_for_a_lock
from tests.postgres.whole_tables import changed, everything
from unbroken.adapters.postgres.group_commit import MOST, MOST_BYTES
from unbroken.adapters.postgres.pool import Connection, Pool
from unbroken.domain.checkpoints import BlobRow, StateChange
from unbroken.domain.errors import CancelRequested, CommitUnknown, Fenced, InvalidValue, StoreUnavailable, UnbrokenError
from unbroken.domain.session import Claim
from unbroken.domain.turn import Committed

pytestmark = pytest.mark.asyncio

COMMIT = "unbroken_commit_v"
REFUSED = ("\x00",)
"""Open questions that no text[] holds: the server says so, after it has begun."""


class Sent:
    """The statements that commit, in the order in which they were sent, and how those ended that were refused."""

    def __init__(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[list[str]] = []
        """Of each statement, in its order."""
        self.refused: list[tuple[int, str]] = []
        self.shared = asyncio.Event()
        write = pool.write

        async def recorded(query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
            count = query.count(COMMIT)
            if count:
                self.threads.append(list(arguments[:: len(arguments) // count][:count]))
            if count > 1:
                self.shared.set()
            try:
                return await write(query, *arguments)
            except UnbrokenError as error:
                self.refused.append((count, str(error)))
                raise

        monkeypatch.setattr(pool, "write", recorded)

    @property
    def sizes(self) -> list[int]:
        return [len(threads) for threads in self.threads]


@pytest.fixture
def sent(store: PostgresSubject, monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(store.pool, monkeypatch)


async def claimed(store: PostgresSubject, count: int) -> list[tuple[Conversation, Claim]]:
    talks = [await Conversation.begin(store) for _ in range(count)]
    return [(talk, await talk.accepted()) for talk in talks]


async def finish(talk: Conversation, claim: Claim, **given: Any) -> Committed:
    return await talk.finish(claim, said(f"to {talk.thread_id}"), state=state_at(1), **given)


async def assert_answered(*talks: Conversation) -> None:
    for talk in talks:
        assert await talk.log() == [(1, f"to {talk.thread_id}")]


async def test_a_commit_that_comes_alone_is_sent_at_once_and_alone(store: PostgresSubject, sent: Sent) -> None:
    talk = await Conversation.begin(store)
    for number in range(1, 5):
        claim = await talk.accepted()
        await talk.superstep(claim, state_at(2 * number))
        finishing = asyncio.ensure_future(talk.finish(claim, state=state_at(2 * number + 1)))
        await asyncio.sleep(0)
        assert sent.sizes == [1] * (2 * number), "it was not sent in the turn of the loop in which it came"
        await finishing


async def test_a_crowd_shares_transactions_of_a_bounded_size_in_which_ids_are_sorted(
    store: PostgresSubject, sent: Sent
) -> None:
    crowd = sorted(await claimed(store, 3 * MOST), key=lambda pair: pair[0].thread_id, reverse=True)
    for talk, _ in crowd[::2]:
        await talk.accept()
    ends = await asyncio.gather(*(finish(talk, claim) for talk, claim in crowd))
    assert max(sent.sizes) == MOST
    assert len(sent.sizes) < len(crowd) // 2
    assert all(threads == sorted(threads) for threads in sent.threads)
    for number, ((talk, claim), end) in enumerate(zip(crowd, ends, strict=True)):
        assert [(entry.log_index, entry.event) for entry in end.entries] == [(1, claim.event)]
        following = end.next
        assert (following is not None) == (number % 2 == 0)
        assert following is None or (following.key, following.event.seq, following.run) == (talk.key, 2, 2)
    await assert_answered(*(talk for talk, _ in crowd))


async def test_a_large_commit_goes_alone_and_together_they_are_bounded(store: PostgresSubject, sent: Sent) -> None:
    def state(size: int) -> StateChange:
        return StateChange(blobs=(BlobRow("", "messages", "1", "msgpack", b"x" * size),))

    crowd = await claimed(store, 6)
    sizes = [1, MOST_BYTES + 1, *[MOST_BYTES // 2 - 1_000] * 4]
    finishing = [
        asyncio.ensure_future(talk.finish(claim, state=state(size)))
        for (talk, claim), size in zip(crowd, sizes, strict=True)
    ]
    await asyncio.sleep(0)
    assert sent.sizes == [1, 1], "the large one waited"
    await asyncio.gather(*finishing)
    assert sorted(sent.sizes) == [1, 1, 2, 2]


@pytest.mark.parametrize("trouble", ["refused", "fenced", "cancelled"])
async def test_a_commit_in_trouble_hears_of_it_and_its_neighbours_do_not(
    store: PostgresSubject, sql: asyncpg.Connection, sent: Sent, trouble: str
) -> None:
    (first, ahead), (talk, claim), *others = await claimed(store, MOST)
    if trouble == "fenced":
        assert await talk.claim() is not None
    elif trouble == "cancelled":
        await talk.cancel(claim.event.request_id)
    given = {"open_questions": REFUSED} if trouble == "refused" else {}
    before = await everything(sql)
    _, end, *ends = await asyncio.gather(
        finish(first, ahead),
        finish(talk, claim, **given),
        *(finish(other, its) for other, its in others),
        return_exceptions=True,
    )
    assert {"refused": InvalidValue, "fenced": Fenced, "cancelled": CancelRequested}[trouble] is type(end)
    assert all(isinstance(end, Committed) for end in ends)
    assert sent.sizes == [1, MOST - 1, *[1] * (MOST - 1)]
    await assert_answered(first, *(other for other, _ in others))
    view = await talk.view()
    assert (view.applied_seq, view.log_index, await talk.head()) == (0, 0, None)
    assert changed(before, await everything(sql))


async def test_a_lost_answer_leaves_each_of_them_in_doubt_and_a_repeat_tells(
    store: PostgresSubject, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = await claimed(store, MOST)

    async def lost(self: Connection, query: str, *arguments: Any, **given: Any) -> Any:
        rows = await asyncpg.Connection.fetch(self, query, *arguments, **given)
        if query.count(COMMIT) < 2:
            return rows
        self.terminate()
        raise ConnectionResetError("the connection ended before its answer")

    monkeypatch.setattr(Connection, "fetch", lost)
    ends: list[object] = await asyncio.gather(*(finish(talk, claim) for talk, claim in crowd), return_exceptions=True)
    assert sent.sizes == [1, MOST - 1]
    assert [type(end) for end in ends] == [Committed, *[CommitUnknown] * (MOST - 1)]
    assert len({id(end) for end in ends}) == MOST, "an exception that two raise collects both their stories"
    await assert_answered(*(talk for talk, _ in crowd))
    for talk, claim in crowd:
        with pytest.raises(Fenced):
            await finish(talk, claim)


async def test_a_defect_leaves_each_of_them_in_doubt_and_a_repeat_tells(
    store: PostgresSubject, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = await claimed(store, MOST)

    async def defective(self: Connection, query: str, *arguments: Any, **given: Any) -> Any:
        rows = await asyncpg.Connection.fetch(self, query, *arguments, **given)
        if query.count(COMMIT) > 1:
            raise RuntimeError("an answer that nobody understands")
        return rows

    monkeypatch.setattr(Connection, "fetch", defective)
    ends: list[object] = await asyncio.gather(*(finish(talk, claim) for talk, claim in crowd), return_exceptions=True)
    assert sent.sizes == [1, MOST - 1], "none of them may be sent again: they may be committed"
    assert [type(end) for end in ends] == [Committed, *[CommitUnknown] * (MOST - 1)]
    await assert_answered(*(talk for talk, _ in crowd))


async def test_a_transaction_that_finds_no_connection_is_not_waited_for_again_by_each_alone(
    store: PostgresSubject, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = await claimed(store, MOST)
    take = store.pool._take
    first = asyncio.Event()

    async def only_one() -> Any:
        if first.is_set():
            raise TimeoutError
        first.set()
        return await take()

    with monkeypatch.context() as patched:
        patched.setattr(store.pool, "_take", only_one)
        ends: list[object] = await asyncio.gather(*(finish(*pair) for pair in crowd), return_exceptions=True)
    assert [type(end) for end in ends] == [Committed, *[StoreUnavailable] * (MOST - 1)]
    assert len({id(end) for end in ends}) == MOST
    assert sent.sizes == [1, MOST - 1]
    await asyncio.gather(*(finish(*pair) for pair in crowd[1:]))
    await assert_answered(*(talk for talk, _ in crowd))


async def test_nobody_waits_for_a_commit_that_waits_for_its_session(
    url: str, store: PostgresSubject, sql: asyncpg.Connection, sent: Sent
) -> None:
    """Neither behind it, nor in one transaction with it."""
    (talk, claim), (behind, its), *others = await claimed(store, 4)
    async with held(url, "sessions", talk.thread_id):
        stuck = asyncio.ensure_future(finish(talk, claim))
        await somebody_waits_for_a_lock(sql)
        await finish(behind, its)
        assert not stuck.done()
    await stuck

    (first, ahead), (talk, claim), *others = await claimed(store, 4)
    async with held(url, "sessions", talk.thread_id):
        leading = asyncio.ensure_future(finish(first, ahead))
        stuck = asyncio.ensure_future(finish(talk, claim))
        await asyncio.gather(leading, *(finish(other, its) for other, its in others))
        assert not stuck.done()
        assert [(count, "lock timeout" in error) for count, error in sent.refused] == [(3, True)]
    await stuck
    await assert_answered(first, talk, behind, *(other for other, _ in others))
    assert await sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0


async def test_patience_ends_with_its_transaction(store: PostgresSubject) -> None:
    for wanted in (1, MOST):
        await asyncio.gather(*(finish(talk, claim) for talk, claim in await claimed(store, wanted)))
    connections = [store.pool.read("SELECT current_setting('lock_timeout') AS it, pg_sleep(0.1)") for _ in range(8)]
    assert {rows[0]["it"] for rows in await asyncio.gather(*connections)} == {"0"}


async def test_whoever_is_cancelled_while_it_gathers_has_done_nothing_and_holds_nobody_up(
    store: PostgresSubject, sent: Sent
) -> None:
    (first, ahead), *others = await claimed(store, MOST - 1)
    leading, *finishing = [asyncio.ensure_future(finish(talk, claim)) for talk, claim in [(first, ahead), *others]]
    await asyncio.sleep(0)
    for task in finishing[::2]:
        task.cancel()
    ends = await asyncio.gather(leading, *finishing, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ends[1:]] == [True, False] * ((MOST - 2) // 2)
    assert sent.sizes == [1, (MOST - 2) // 2]
    for number, (talk, _) in enumerate(others):
        assert (await talk.view()).applied_seq == number % 2
    (last, its) = (await claimed(store, 1))[0]
    await finish(last, its)
    await assert_answered(first, last, *(talk for talk, _ in others[1::2]))


async def test_whoever_is_cancelled_once_it_was_sent_is_committed_with_the_others(
    store: PostgresSubject, sent: Sent
) -> None:
    (first, ahead), *others = await claimed(store, 4)
    tasks = [asyncio.ensure_future(finish(talk, claim)) for talk, claim in [(first, ahead), *others]]
    await sent.shared.wait()
    tasks[1].cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [Committed, asyncio.CancelledError, Committed, Committed]
    await assert_answered(first, *(talk for talk, _ in others))
