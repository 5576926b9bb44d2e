"""What this process knows of a session only grows, whatever order its news and the store's snapshots come in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import permutations

import pytest

from tests.application.puppet import Puppet
from tests.application.reader import Reader
from tests.application.virtual_time import virtual
from tests.application.world import KEY, World, until
from unbroken.adapters.in_process.lease import AlwaysHeld
from unbroken.application.deliveries import ShowLogged, ShowUser
from unbroken.application.live_sessions import TAIL, TAIL_BYTES, LiveSession, LiveSessions
from unbroken.domain.effects import LogEntry, ReportFailure
from unbroken.domain.errors import CommitUnknown, Fenced, StoreUnavailable
from unbroken.domain.events import Event, UserMessage
from unbroken.domain.ports.agent import Attempt
from unbroken.domain.ports.sessions import Sessions
from unbroken.domain.session import Claim, Position, SessionView, Strays
from unbroken.domain.turn import Fork


def event(seq: int) -> Event:
    return Event(seq, f"id-{seq}", f"request-{seq}", UserMessage("hello"), datetime(2026, 1, 1, tzinfo=UTC))


def entry(log_index: int, message: str = "no") -> LogEntry:
    return LogEntry(log_index, event(log_index), ReportFailure("model_failed", message, log_index))


def claim(seq: int) -> Claim:
    return Claim(KEY, 1, 1, event(seq), seq, 1, None, None, 0, log_index=seq - 1)


def view(applied: int, accepted: int) -> SessionView:
    pending = tuple(event(seq) for seq in range(applied + 1, accepted + 1))
    return SessionView(KEY, applied, 0, 0, applied, applied, pending)


NEWS = {
    "accepted 1": lambda live: live.add(event(1)),
    "accepted 2": lambda live: live.add(event(2)),
    "an old snapshot": lambda live: live.merge(view(0, 1)),
    "a new snapshot": lambda live: live.merge(view(1, 2)),
    "ended 1": lambda live: live.end(event(1), [entry(1)]),
}


@pytest.mark.parametrize("order", list(permutations(NEWS)), ids=", ".join)
def test_news_and_snapshots_may_come_in_any_order(order: tuple[str, ...]) -> None:
    live = LiveSession(KEY)
    for name in order:
        NEWS[name](live)
        assert live.tail_start + len(live.tail) == live.log_index
    assert (live.log_index, live.applied_seq, list(live.pending)) == (1, 1, [2])


class SlowSnapshot(Sessions):
    """A store whose snapshot was taken before anything happened, and arrives when told to."""

    def __init__(self, snapshot: SessionView | Exception) -> None:
        self.snapshot = snapshot
        self.arrives = asyncio.Event()

    async def view(self, thread_id: str) -> SessionView | None:
        await self.arrives.wait()
        if isinstance(self.snapshot, Exception):
            raise self.snapshot
        return self.snapshot

    async def claim(self, thread_id: str, *, replica: int, because: str | None = None) -> Claim | None:
        raise AssertionError

    async def before(self, thread_id: str, request_id: str) -> Fork | None:
        raise AssertionError

    async def release(self, claim: Claim) -> bool:
        raise AssertionError

    async def release_thread(self, thread_id: str, *, replica: int) -> bool:
        raise AssertionError

    async def strays(self, *, replica: int, limit: int) -> Strays:
        raise AssertionError

    async def behind(self, known: Mapping[str, Position]) -> Sequence[str]:
        raise AssertionError

    async def alone(self, *, replica: int) -> int | None:
        raise AssertionError

    async def standing(self, *, replica: int) -> Mapping[str, int]:
        raise AssertionError


@pytest.mark.asyncio
@pytest.mark.parametrize("accepted", [0, 1])
async def test_a_turn_that_ends_while_a_snapshot_is_on_its_way_is_not_forgotten(accepted: int) -> None:
    store = SlowSnapshot(view(0, accepted))
    sessions = LiveSessions(store, AlwaysHeld())
    opening = asyncio.ensure_future(sessions.open(KEY))
    await asyncio.sleep(0)
    sessions.accepted(KEY, event(1), claim(1))
    sessions.begin(claim(1))
    sessions.end(claim(1), [entry(1)])
    store.arrives.set()
    live = await opening
    assert (live.log_index, live.applied_seq, list(live.pending)) == (1, 1, [])
    sessions.release(live)
    assert len(sessions) == 0


@pytest.mark.asyncio
async def test_an_attempt_whose_event_has_ended_elsewhere_is_never_shown() -> None:
    store = SlowSnapshot(view(1, 1))
    store.arrives.set()
    sessions = LiveSessions(store, AlwaysHeld())
    live = await sessions.open(KEY)
    with pytest.raises(Fenced):
        sessions.begin(claim(1))
    assert live.attempt is None


@pytest.mark.asyncio
async def test_a_snapshot_that_does_not_come_leaves_nothing_behind() -> None:
    store = SlowSnapshot(StoreUnavailable("away"))
    sessions = LiveSessions(store, AlwaysHeld())
    store.arrives.set()
    with pytest.raises(StoreUnavailable):
        await sessions.open(KEY)
    assert len(sessions) == 0


def test_a_claim_is_a_snapshot_of_the_log() -> None:
    live = LiveSession(KEY)
    live.end(event(1), [entry(1)])
    live.add(event(2))
    attempt = live.begin(claim(5), "started")
    assert (live.log_index, live.applied_seq, list(live.pending), list(live.tail)) == (4, 4, [5], [])
    assert attempt.log_index == live.log_index


def test_the_tail_in_memory_is_bounded_and_says_where_it_begins() -> None:
    live = LiveSession(KEY)
    for number in range(1, TAIL + 11):
        live.end(event(number), [entry(number)])
    assert (live.tail_start, len(live.tail), live.tail[0].log_index) == (10, TAIL, 11)


def test_the_tail_is_bounded_in_bytes_too_but_for_the_newest_entry() -> None:
    live = LiveSession(KEY)
    for number in range(1, 11):
        live.end(event(number), [entry(number, "x" * (TAIL_BYTES // 4))])
        assert sum(len(str(held.body)) for held in live.tail) <= TAIL_BYTES
    assert (live.tail_start, [held.log_index for held in live.tail]) == (7, [8, 9, 10])
    live.end(event(11), [entry(11, "x" * 2 * TAIL_BYTES)])
    assert (live.tail_start, [held.log_index for held in live.tail]) == (10, [11])
    live.end(event(12), [entry(12)])
    assert (live.tail_start, [held.log_index for held in live.tail]) == (11, [12])
    live.catch_up(20, 20)
    live.end(event(21), [entry(21)])
    assert (live.tail_start, [held.log_index for held in live.tail]) == (20, [21])


@virtual
async def test_a_reader_behind_a_tail_of_long_answers_gets_the_others_from_the_store() -> None:
    world = World()
    node = await world.replica()
    long = "x" * (TAIL_BYTES // 3)

    async def at_once(attempt: Attempt) -> str:
        return f"{attempt.claim.event.seq} {long}"

    node.agent.script = at_once
    ahead, behind = Reader(await node.subscribe(KEY, cursor=0)), Reader(await node.subscribe(KEY, cursor=0))
    for number in range(8):
        await node.say(str(number))
        await node.ended()
        await ahead.drain()
    live = node.live.get(KEY)
    assert live is not None
    assert live.tail_start >= 6
    await behind.drain()
    for reader in (ahead, behind):
        assert not reader.gaps
        assert [logged.body.text for logged in reader.log] == [f"{seq} {long}" for seq in range(1, 9)]  # type: ignore[union-attr]
        reader.close()


@virtual
async def test_an_accept_tells_readers_at_once_what_others_did_since() -> None:
    world = World()
    here, there = await world.replica("a", slots=1), await world.replica("b")
    reader = Reader(await here.subscribe(KEY, cursor=0))
    await there.say("elsewhere")
    await there.ended()
    await here.say("here")
    await reader.drain()
    assert reader.cursor == 1
    await here.ended()
    reader.close()


@virtual
async def test_every_news_wakes_a_reader_that_waits() -> None:
    world = World()
    node = await world.replica()
    puppet = Puppet(node)
    reader = Reader(await node.subscribe(KEY, cursor=0))

    for step in (node.say("hello"), puppet.say("one"), puppet.tool("call"), puppet.finish()):
        waiting = asyncio.create_task(reader.take())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await step
        async with asyncio.timeout(1):
            assert await waiting
        await reader.drain()
    assert isinstance(reader.seen[-1], ShowLogged)
    reader.close()


@virtual
async def test_a_reader_that_comes_between_a_commit_and_its_answer_gets_the_end_and_nothing_after_it() -> None:
    world = World()
    node = await world.replica()
    held = world.trouble.hold("commit", "after")
    await node.say("hello")
    await held.reached.wait()
    reader = Reader(await node.subscribe(KEY, cursor=0))
    await reader.drain()
    held.release()
    await until(lambda: not len(node.queue))
    await reader.drain()
    assert [type(item) for item in reader.seen] == [ShowUser, ShowLogged]
    reader.close()
    assert len(node.live) == 0


@virtual
async def test_a_session_whose_last_commit_was_in_doubt_is_forgotten_too() -> None:
    world = World()
    node = await world.replica()
    world.trouble.doubt("commit", applied=True)
    await node.say("hello")
    await node.ended()
    assert len(node.live) == 0
    world.trouble.doubt("accept", applied=True)
    with pytest.raises(CommitUnknown):
        await node.say("again")
    await node.ended()
    assert len(node.live) == 0


@virtual
async def test_a_poisoned_event_s_end_reaches_readers_of_a_session_that_others_worked_on() -> None:
    world = World()
    here, there = await world.replica("a"), await world.replica("b")
    reader = Reader(await here.subscribe(KEY, cursor=0))
    for text in ("first", "second"):
        await there.say(text)
        await there.ended()
    await there.say("poison")
    await there.crash()
    session = world.store.database.sessions[KEY.thread_id]
    assert session.tries == 1
    for _ in range(2):
        await world.store.sessions.claim(KEY.thread_id, replica=here.id)
    world.trouble.refuse("view")
    async with reader.following():
        here.queue.hint(KEY.thread_id)
        await here.ended()
    assert await world.ends() == ["re: first!", "re: second!", "poisoned"]
    assert reader.log == await world.log()
    reader.close()
