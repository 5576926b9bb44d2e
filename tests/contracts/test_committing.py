"""UnitOfWork: together or not at all (I4), and only under the claim (I5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import PLENTY, Conversation, owed, replica_of, said, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.effects import ReportFailure, RequestInput, ScheduleTimer, SkipEvent
from unbroken.domain.errors import Fenced, InvalidValue, Unavailable
from unbroken.domain.session import Claim
from unbroken.domain.turn import TurnChange

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def assert_untouched(talk: Conversation, claim: Claim) -> None:
    """Nothing of a refused commit is visible, and the claim can still be made good."""
    view = await talk.view()
    assert (view.applied_seq, view.log_index) == (claim.applied_seq, claim.log_index)
    assert len(await talk.log()) == claim.log_index
    assert await talk.head() == (claim.head or None)  # "" is known to be none


async def test_a_finishing_commit_makes_everything_visible_at_once(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    bodies = (
        said("hello"),
        RequestInput("q1", {"why": [1, 2]}),
        RequestInput("q2", None),
        ScheduleTimer(60.0, {"n": 1}),
    )
    committed = await talk.finish(claim, *bodies, state=state_at(1))
    assert [(entry.log_index, entry.event, entry.body) for entry in committed.entries] == [
        (1, claim.event, bodies[0]),
        (2, claim.event, bodies[1]),
        (3, claim.event, bodies[2]),
    ]
    assert committed.next is None
    assert tuple(await store.outbox.read(talk.thread_id, after=0, limit=PLENTY)) == committed.entries
    view = await talk.view()
    assert (view.applied_seq, view.log_index, view.pending) == (1, 3, ())
    assert await talk.head() == state_at(1).heads[0][1]
    (effect,) = [
        claim
        for claim in await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
        if claim.thread_id == talk.thread_id
    ]
    assert (effect.event_seq, effect.body, effect.attempt_count) == (1, bodies[3], 1)


async def test_log_indexes_are_gap_free_over_turns_of_every_kind(store: Subject) -> None:
    talk = await Conversation.begin(store)
    expected: list[tuple[int, Any]] = []
    for bodies in (
        [said("one")],
        [SkipEvent("overtaken")],
        [said("two"), RequestInput("q", 1)],
        [ReportFailure("model_failed", "no", 4)],
        [ScheduleTimer(60.0)],
        [said("three"), ScheduleTimer(60.0)],
    ):
        claim = await talk.accepted()
        assert claim.log_index == len(expected)
        await talk.finish(claim, *bodies)
        expected += [
            (len(expected) + n, getattr(body, "text", body))
            for n, body in enumerate((b for b in bodies if not isinstance(b, SkipEvent | ScheduleTimer)), 1)
        ]
    assert await talk.log() == expected
    assert [index for index, _ in expected] == [1, 2, 3, 4, 5]


async def test_a_finish_counts_the_next_attempt_if_and_only_if_an_event_waits(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    second = await talk.accept()
    following = (await talk.finish(claim, state=state_at(1))).next
    assert following is not None
    assert following.event == second.event
    assert (following.run, following.tries, following.epoch) == (claim.run + 1, 1, claim.epoch)
    assert (following.owner, following.log_index, following.resumes) == (claim.owner, 1, False)
    assert following.head == following.base_head == state_at(1).heads[0][1]
    assert (await talk.view()).run == following.run
    assert (await talk.finish(following)).next is None
    assert (await talk.view()).run == following.run


async def test_a_superstep_shows_nothing_and_leaves_the_event_unfinished(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.superstep(claim, state_at(1))
    view = await talk.view()
    assert (view.applied_seq, view.log_index, [event.seq for event in view.pending]) == (0, 0, [1])
    await talk.superstep(claim, state_at(2, parent=1))
    committed = await talk.finish(claim, state=state_at(3, parent=2))
    assert [entry.log_index for entry in committed.entries] == [1]


@pytest.mark.parametrize("finishes", [False, True])
@pytest.mark.parametrize("field", ["owner", "epoch", "run", "event"])
async def test_a_commit_under_any_stale_part_of_its_claim_is_fenced_out(
    store: Subject, field: str, finishes: bool
) -> None:
    talk, other = await Conversation.begin(store), await replica_of(store)
    claim = await talk.accepted()
    stale = {
        "owner": replace(claim, owner=other.id),
        "epoch": replace(claim, epoch=claim.epoch - 1),
        "run": replace(claim, run=claim.run - 1),
        "event": replace(claim, event=replace(claim.event, seq=2)),
    }[field]
    with pytest.raises(Fenced):
        await store.unit_of_work.commit(
            TurnChange(stale, state_at(1), finishes, owed(stale, said("late")) if finishes else ())
        )
    await assert_untouched(talk, claim)
    await talk.finish(claim, state=state_at(2))


async def test_the_former_owner_is_fenced_out_once_another_has_claimed(store: Subject) -> None:
    talk, heir = await Conversation.begin(store), await replica_of(store)
    stale = await talk.accepted()
    await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
    claim = await talk.claim(heir)
    assert claim is not None
    for late in (talk.superstep(stale, state_at(1)), talk.finish(stale, state=state_at(1))):
        with pytest.raises(Fenced):
            await late
    await assert_untouched(talk, claim)
    await talk.finish(claim)


async def test_an_expired_lease_alone_takes_no_right_away(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
    await talk.finish(claim)
    assert (await talk.view()).applied_seq == 1


async def test_an_earlier_boot_is_fenced_out_before_anyone_has_claimed(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await replica_of(store, talk.replica.name)
    for late in (talk.superstep(claim, state_at(1)), talk.finish(claim, state=state_at(1))):
        with pytest.raises(Fenced):
            await late
    await assert_untouched(talk, claim)


async def test_an_event_is_finished_once(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    results = await asyncio.gather(*(talk.finish(claim) for _ in range(8)), return_exceptions=True)
    assert len([result for result in results if isinstance(result, Fenced)]) == 7
    assert await talk.log() == [(1, "answer 1")]


async def test_a_claim_ends_when_its_successor_is_counted(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.accept()
    following = (await talk.finish(claim)).next
    assert following is not None
    with pytest.raises(Fenced):
        await talk.superstep(claim, state_at(1))
    await assert_untouched(talk, following)


async def test_a_commit_to_a_thread_that_is_not_there_is_fenced_out(store: Subject) -> None:
    talk, elsewhere = await Conversation.begin(store), await Conversation.begin(store)
    claim = await talk.accepted()
    with pytest.raises(Fenced):
        await talk.finish(replace(claim, key=elsewhere.key))
    await store.entomb(talk.thread_id)
    with pytest.raises(Fenced):
        await talk.finish(claim)


@pytest.mark.parametrize("finishes", [False, True])
async def test_a_failing_commit_surfaces_and_leaves_nothing(store: Subject, finishes: bool) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    async with store.commits_fail():
        commit = talk.finish(claim, state=state_at(1)) if finishes else talk.superstep(claim, state_at(1))
        with pytest.raises(Unavailable):
            await commit
    await assert_untouched(talk, claim)
    await talk.finish(claim, state=state_at(1))


async def test_what_cannot_be_stored_rolls_the_whole_commit_back(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    broken = replace(state_at(1).checkpoints[0], checkpoint=b"{not json")
    with pytest.raises(InvalidValue):
        await talk.finish(claim, state=StateChange(checkpoints=(broken,), heads=state_at(1).heads))
    with pytest.raises(InvalidValue):
        await talk.finish(claim, said("fine"), RequestInput("q", "not \x00 fine"), state=state_at(1))
    await assert_untouched(talk, claim)
    await talk.finish(claim, state=state_at(1))


async def test_an_effect_exists_once_whoever_repeats_it(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    first = owed(claim, said("once"))
    await store.unit_of_work.commit(TurnChange(claim, StateChange(), True, first))
    claim = await talk.accepted()
    repeated = store.unit_of_work.commit(TurnChange(claim, state_at(1), True, first))
    (outcome,) = await asyncio.gather(repeated, return_exceptions=True)
    assert isinstance(outcome, Exception)
    assert not isinstance(outcome, Unavailable | Fenced), "somebody would try that again"
    await assert_untouched(talk, claim)
    assert await talk.log() == [(1, "once")]
