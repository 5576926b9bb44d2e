"""What came of a user's events, told as runs: nothing is stored of them, and nobody else hears of them."""

from __future__ import annotations

import pytest

from tests.contracts.conversation import PLENTY, Conversation, checkpoint_id, said, state_at, unique
from tests.contracts.subjects import Subject
from unbroken.domain.effects import CancelTurn, CloseQuestion, ReportFailure, RequestInput, SkipEvent
from unbroken.domain.errors import NotYourThread, ThreadDeleted, UnknownRequest
from unbroken.domain.events import EventBody, InputResponse, RunStart, StateUpdate, UserMessage
from unbroken.domain.ports.runs import WITHIN
from unbroken.domain.runs import Run, RunState
from unbroken.domain.session import SessionKey

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def told(talk: Conversation, state: RunState | None = None) -> list[tuple[int, RunState]]:
    runs = await talk.store.runs.page("ann", talk.thread_id, state=state, limit=PLENTY)
    return [(run.seq, run.state) for run in runs]


async def run_of(talk: Conversation, run_id: str) -> Run:
    return await talk.store.runs.get("ann", talk.thread_id, run_id)


async def test_a_run_is_its_event_from_the_accept_to_its_end(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted(talk.new(UserMessage("first"), request_id="r-1"))
    waiting = (await talk.accept(talk.new(UserMessage("second")))).event
    runs = await store.runs.page("ann", talk.thread_id, limit=PLENTY)
    assert runs == [await run_of(talk, waiting.id), await run_of(talk, claim.event.id)]
    first, second = runs[1], runs[0]
    assert first == Run(
        id=claim.event.id,
        thread_id=talk.thread_id,
        agent_id="demo",
        seq=1,
        request_id="r-1",
        body=UserMessage("first"),
        created_at=claim.event.created_at,
        state=RunState.RUNNING,
        attempt=claim.run,
    )
    assert (second.state, second.attempt, second.ended_at, second.body) == (
        RunState.PENDING,
        None,
        None,
        UserMessage("second"),
    )
    await talk.finish(claim, state=state_at(1))
    first, second = await run_of(talk, claim.event.id), await run_of(talk, waiting.id)
    assert (first.state, first.attempt, first.checkpoint_id) == (RunState.ANSWERED, claim.run, checkpoint_id(1))
    assert first.log_index == 1
    assert first.ended_at is not None
    assert first.ended_at >= first.created_at
    assert (second.state, second.attempt) == (RunState.RUNNING, claim.run + 1)


async def test_each_kind_of_end_is_a_state_of_its_own(store: Subject) -> None:
    talk = await Conversation.begin(store)
    asked = RequestInput("q:1", "sure?")
    waits = said("?")
    ends = (
        (RunState.ANSWERED, (said("yes"),)),
        (RunState.CANCELLED, (CancelTurn("ye", 2),)),
        (RunState.FAILED, (ReportFailure("model_failed", "no such model", 3),)),
        (RunState.TIMED_OUT, (ReportFailure("timed_out", "too long", 4),)),
        (RunState.ASKING, (type(waits)("?", [], 5, 1, waiting=True), asked)),
    )
    for _, bodies in ends:
        await talk.finish(await talk.accepted(), *bodies)
    assert await told(talk) == [(seq, state) for seq, (state, _) in reversed(list(enumerate(ends, 1)))]
    for seq, (state, _) in enumerate(ends, 1):
        assert await told(talk, state) == [(seq, state)]
    assert await told(talk, RunState.RUNNING) == await told(talk, RunState.PENDING) == []
    failed = (await store.runs.page("ann", talk.thread_id, state=RunState.FAILED, limit=1))[0]
    assert (failed.code, failed.message) == ("model_failed", "no such model")
    cancelled = (await store.runs.page("ann", talk.thread_id, state=RunState.CANCELLED, limit=1))[0]
    assert (cancelled.code, cancelled.message, cancelled.attempt) == (None, None, 2)


async def test_the_effect_that_ends_a_run_is_found_among_others(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted(talk.new(InputResponse("q:1", True)))
    await talk.finish(claim, CloseQuestion("q:1", "answered"), said("done", claim.run))
    run = await run_of(talk, claim.event.id)
    assert (run.state, run.body) == (RunState.ANSWERED, InputResponse("q:1", True))


async def test_what_ended_unstarted_is_no_run(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.finish(claim, SkipEvent("overtaken"))
    assert await told(talk) == []
    with pytest.raises(UnknownRequest):
        await run_of(talk, claim.event.id)


async def test_pages_are_cut_from_the_newest_on(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for _ in range(5):
        await talk.finish(await talk.accepted())
    pages = [
        [run.seq for run in await store.runs.page("ann", talk.thread_id, offset=offset, limit=2)]
        for offset in (0, 2, 4, 6)
    ]
    assert pages == [[5, 4], [3, 2], [1], []]


async def test_unfinished_runs_are_found_over_all_of_a_users_threads(store: Subject) -> None:
    talk = await Conversation.begin(store)
    user = unique("user")
    mine = sorted(
        (Conversation(store, talk.replica, SessionKey(user, "demo", unique("thread"))) for _ in range(3)),
        key=lambda one: one.thread_id,
    )
    for one in mine:
        claim = await one.accepted()
        await one.accept()
        if one is mine[1]:
            await one.finish(claim)
    await talk.accept()
    found = [(run.thread_id, run.seq, run.state) for run in await store.runs.unfinished(user, limit=PLENTY)]
    running, pending = RunState.RUNNING, RunState.PENDING
    first, second, third = (one.thread_id for one in mine)
    expected = [
        (first, 1, running),
        (first, 2, pending),
        (second, 2, running),
        (third, 1, running),
        (third, 2, pending),
    ]
    assert found == expected
    assert [run.seq for run in await store.runs.unfinished(user, limit=3)] == [1, 2, 2]


async def test_nobody_elses_runs_are_told(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    for thread_id in (talk.thread_id, unique("thread")):
        with pytest.raises(NotYourThread):
            await store.runs.get("bob", thread_id, claim.event.id)
        with pytest.raises(NotYourThread):
            await store.runs.page("bob", thread_id, limit=PLENTY)
    other = Conversation(store, talk.replica)
    await other.accept()
    with pytest.raises(UnknownRequest):  # a run of another thread is none of this one's
        await run_of(other, claim.event.id)
    await store.threads.delete("ann", talk.thread_id)
    with pytest.raises(ThreadDeleted):
        await run_of(talk, claim.event.id)
    with pytest.raises(ThreadDeleted):
        await store.runs.page("ann", talk.thread_id, limit=PLENTY)


async def ended(talk: Conversation, *bodies: EventBody) -> None:
    for body in bodies:
        await talk.finish(await talk.accepted(talk.new(body)))


async def test_the_run_that_asked_is_found_behind_however_many_answers(store: Subject) -> None:
    talk = await Conversation.begin(store)
    first = RunStart({"a": 1}, config={"configurable": {"model": "m1"}}, context={"tenant": "acme"})
    await ended(talk, first, InputResponse("q:1", "yes"), UserMessage("between"), InputResponse("breakpoint:c:2", True))
    asking = store.runs.asking
    assert [await asking(talk.thread_id, seq) for seq in range(6)] == [None, first, first, None, first, None]
    await ended(talk, InputResponse("q:3", 1), InputResponse("q:6", 1), InputResponse("q:1" + 15 * "0", 1))
    await ended(
        talk, InputResponse("q", 1), InputResponse("q:x", 1), InputResponse("q:99", 1), InputResponse("q:-1", 1)
    )
    assert [await asking(talk.thread_id, seq) for seq in range(5, 12)] == [None] * 7
    await ended(talk, RunStart(command={"resume": "x"}), InputResponse("q:12", 1))
    assert await asking(talk.thread_id, 13) == RunStart(command={"resume": "x"})
    assert await asking(unique("thread"), 1) is None
    await store.threads.delete("ann", talk.thread_id)
    assert await asking(talk.thread_id, 1) is None


async def test_the_latest_run_of_a_thread_is_found_below_any_event(store: Subject) -> None:
    talk = await Conversation.begin(store)
    latest = store.runs.latest_start
    assert await latest(talk.thread_id) is None
    first, second = RunStart({"a": 1}), RunStart({"a": 2})
    await ended(talk, UserMessage("hello"), first, StateUpdate({"a": 3}), second, UserMessage("more"))
    assert await latest(talk.thread_id) == second
    below = [await latest(talk.thread_id, below=seq) for seq in range(1, 8)]
    assert below == [None, None, first, first, second, second, second]
    await talk.accept(talk.new(RunStart({"a": 4})))  # one that waits, or runs, counts as well
    assert await latest(talk.thread_id) == RunStart({"a": 4})
    await store.threads.delete("ann", talk.thread_id)
    assert await latest(talk.thread_id) is None


async def test_no_run_is_looked_for_farther_back_than_some_events(store: Subject) -> None:
    talk = await Conversation.begin(store)
    first = RunStart({"a": 1})
    await talk.accept(talk.new(first))
    for _ in range(WITHIN - 1):
        await talk.accept(queue_limit=2 * WITHIN)
    assert await store.runs.latest_start(talk.thread_id) == first
    await talk.accept(queue_limit=2 * WITHIN)
    assert await store.runs.latest_start(talk.thread_id) is None
    assert await store.runs.latest_start(talk.thread_id, below=WITHIN + 1) == first
