"""Everybody at once on few sessions: 1,000 events, and no deadlock, gap, double or loss.

A deadlock would surface in one of the callers as StoreUnavailable, which nobody here forgives.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count

import asyncpg
import pytest
import pytest_asyncio

from tests.contracts.conversation import PLENTY, Conversation, owed, replica_of, said, state_at, unique
from tests.contracts.subjects import PostgresSubject
from unbroken.adapters.postgres.pool import SERVER_SETTINGS
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.effects import EffectBody, ScheduleTimer, SkipEvent
from unbroken.domain.errors import Fenced, TimerGone
from unbroken.domain.events import NewEvent, TimerFired, UserMessage
from unbroken.domain.ports.outbox import Reached
from unbroken.domain.ports.replicas import Replica
from unbroken.domain.session import Claim, SessionKey
from unbroken.domain.turn import TurnChange

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

SESSIONS = 6
ACCEPTORS = 8
EVENTS = 1_000
PAUSE_S = 0.005
"""Between two looks of one poller: less, and the database does little else than answer them."""


class Crowd:
    """Acceptors, owners that die, promoters, effect runners, pollers and tools, until all events are said."""

    def __init__(self, store: PostgresSubject, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.keys = [SessionKey("ann", "demo", unique("thread")) for _ in range(SESSIONS)]
        self.requests: dict[str, list[str]] = {key.thread_id: [] for key in self.keys}
        self.saying = True
        self.deaths = 0
        self.late_writes_refused = 0
        self.fired = 0
        self.numbers = count(1)
        self.runs: dict[str, int] = {}
        self.ended: Counter[str] = Counter()
        self.rests_until: dict[str, float] = {}

    async def say(self, share: int) -> None:
        replica = await replica_of(self.store, lease_ttl_s=0)
        for _ in range(share):
            key = await self.not_too_busy()
            request_id = f"request-{next(self.numbers)}"
            twins = 2 if self.rng.random() < 0.1 else 1
            receipts = await asyncio.gather(
                *(
                    self.store.event_store.accept(
                        key,
                        NewEvent(unique("event"), request_id, UserMessage("hi")),
                        replica=replica.id,
                        queue_limit=PLENTY,
                    )
                    for _ in range(twins)
                )
            )
            self.requests[key.thread_id].append(request_id)
            assert len({receipt.event.id for receipt in receipts}) == 1
            assert [receipt.duplicate for receipt in receipts].count(False) == 1
            # Its lease is over and it forgets what it claimed: as if it had died before it began.

    async def not_too_busy(self) -> SessionKey:
        """Queues stay short, so that accepts meet finishing commits; and now and then a session gets a rest, or no
        timer would ever come before the next message."""
        now = asyncio.get_running_loop().time()
        while True:
            key = self.rng.choice(self.keys)
            waiting = len(self.requests[key.thread_id]) - self.ended[key.thread_id]
            if self.rng.random() < 0.05:
                self.rests_until[key.thread_id] = now + 0.1
            if waiting < 4 and self.rests_until.get(key.thread_id, 0) <= now:
                return key
            await asyncio.sleep(0.001)
            now = asyncio.get_running_loop().time()

    async def own(self, name: str) -> None:
        replica = await replica_of(self.store, name)
        while self.saying or await self.work_left():
            await asyncio.sleep(PAUSE_S)
            for thread_id in (await self.store.sessions.strays(replica=replica.id, limit=PLENTY)).threads:
                claim = await self.store.sessions.claim(thread_id, replica=replica.id)
                if claim is not None and not await self.worked(claim):
                    self.deaths += 1
                    replica = await replica_of(self.store, name)
                    await self.write_late(claim)
                    break

    async def work_left(self) -> bool:
        views = [await self.store.sessions.view(key.thread_id) for key in self.keys]
        return any(view is not None and view.pending for view in views)

    async def worked(self, claim: Claim | None) -> bool:
        """Follow a session until nothing waits; False: died in the middle."""
        while claim is not None:
            assert claim.run > self.runs.get(claim.key.thread_id, 0), "an attempt was counted twice"
            self.runs[claim.key.thread_id] = claim.run
            if self.rng.random() < 0.04:
                return False
            try:
                if self.rng.random() < 0.3:
                    number = next(self.numbers)
                    await self.store.unit_of_work.commit(TurnChange(claim, state_at(number), False))
                claim = await self.finish(claim)
            except Fenced:
                return True
        return True

    async def finish(self, claim: Claim) -> Claim | None:
        bodies: list[EffectBody] = [said(claim.event.request_id, claim.run)]
        if isinstance(claim.event.body, TimerFired):
            bodies = [SkipEvent("only a timer")]
        elif self.rng.random() < 0.6:
            bodies.append(ScheduleTimer(0.0))
        state = state_at(next(self.numbers))
        committed = await self.store.unit_of_work.commit(TurnChange(claim, state, True, owed(claim, *bodies)))
        self.ended[claim.key.thread_id] += 1
        return committed.next

    async def write_late(self, claim: Claim) -> None:
        with pytest.raises(Fenced):
            await self.finish(claim)
        self.late_writes_refused += 1

    async def run_effects(self) -> None:
        replica = await replica_of(self.store)
        while self.saying:
            await asyncio.sleep(PAUSE_S)
            for effect in await self.store.outbox.claim(replica=replica.id, limit=10, until_s=60):
                await self.store.timers.schedule(
                    effect.thread_id,
                    "t",
                    after_event=effect.event_seq,
                    created_by=effect.dedupe_key,
                    after_s=self.rng.choice((0.0, 60.0)),
                    payload=None,
                )
                assert await self.store.outbox.complete(effect)

    async def promote(self) -> None:
        replica = await replica_of(self.store, lease_ttl_s=0)
        while self.saying:
            await asyncio.sleep(PAUSE_S)
            for timer in await self.store.timers.due(limit=10):
                request_id = f"timer:{timer.timer_id}:{timer.generation}"
                body = TimerFired(timer.timer_id, timer.generation)
                try:
                    receipt = await self.store.event_store.accept(
                        timer.key,
                        NewEvent(unique("event"), request_id, body),
                        replica=replica.id,
                        queue_limit=PLENTY,
                    )
                except TimerGone:
                    continue
                if not receipt.duplicate:
                    self.fired += 1
                    self.requests[timer.key.thread_id].append(request_id)

    async def meddle(self) -> None:
        """Acknowledge, prune, and write state beside the turns."""
        while self.saying:
            threads = [key.thread_id for key in self.keys]
            self.rng.shuffle(threads)
            marks = dict.fromkeys(threads, Reached(self.rng.randint(0, 50)))
            await self.store.outbox.mark(marks, marks)
            await self.store.checkpoint_upkeep.prune(threads[:2], keep_latest=True)
            await self.store.checkpoints.put(threads[0], state_at(next(self.numbers), ns="tool"))
            await asyncio.sleep(0.02)

    async def play(self) -> None:
        background = [
            asyncio.create_task(role)
            for role in (
                *(self.own(f"owner-{n}") for n in range(4)),
                *(self.run_effects() for _ in range(2)),
                *(self.promote() for _ in range(2)),
                *(self.meddle() for _ in range(2)),
            )
        ]
        try:
            await asyncio.gather(*(self.say(EVENTS // ACCEPTORS) for _ in range(ACCEPTORS)))
        finally:
            self.saying = False
            await asyncio.gather(*background)


@pytest_asyncio.fixture
async def store(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresSubject]:
    """Without waiting for the disk, which would only make the meetings rarer."""
    monkeypatch.setitem(SERVER_SETTINGS, "synchronous_commit", "off")
    async with open_postgres(url, pool_size=16) as opened:
        yield PostgresSubject(opened, url)


async def test_a_thousand_events_in_a_crowd_meet_without_deadlock_gap_double_or_loss(
    store: PostgresSubject, sql: asyncpg.Connection
) -> None:
    crowd = Crowd(store, seed=11)
    async with asyncio.timeout(120):
        await crowd.play()
    assert min(crowd.deaths, crowd.late_writes_refused, crowd.fired) > 0, "the crowd was too tame to prove anything"
    for key in crowd.keys:
        talk = Conversation(store, Replica(0, "", 0), key)
        await assert_told_once_in_order(talk, crowd.requests[key.thread_id])
    assert await sql.fetchval("SELECT count(*) FROM effects WHERE status = 'executing'") == 0


async def assert_told_once_in_order(talk: Conversation, requests: list[str]) -> None:
    view = await talk.view()
    assert view.pending == ()
    rows = await talk.store.outbox.read(talk.thread_id, after=0, limit=10 * EVENTS)
    assert [row.log_index for row in rows] == list(range(1, len(rows) + 1))
    seqs = [row.event.seq for row in rows]
    assert seqs == sorted(set(seqs))
    ended = Counter(row.event.request_id for row in rows)
    assert ended == Counter(request for request in requests if not request.startswith("timer:"))
    assert view.applied_seq == len(requests)
