"""The pointer to the state that counts, and the way back to where it stood before the event."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import Conversation, checkpoint_id, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.effects import ReportFailure
from unbroken.domain.session import Claim

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILED = ReportFailure("model_failed", "no", 1)


def both(first: StateChange, second: StateChange) -> StateChange:
    return StateChange(
        checkpoints=first.checkpoints + second.checkpoints,
        blobs=first.blobs + second.blobs,
        heads=first.heads + second.heads,
    )


async def reclaimed(talk: Conversation) -> Claim:
    claim = await talk.claim()
    assert claim is not None
    return claim


async def test_a_new_thread_has_nothing_to_adopt_and_nothing_to_resume(store: Subject) -> None:
    claim = await (await Conversation.begin(store)).accepted()
    assert (claim.head, claim.base_head, claim.resumes) == ("", "", False)


async def test_whoever_takes_an_attempt_up_again_looks_for_what_there_is_to_adopt(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.accepted()
    claim = await reclaimed(talk)
    assert (claim.head, claim.base_head, claim.resumes) == (None, None, False)


async def test_what_another_saver_left_beside_the_root_is_enough_to_look_for(store: Subject) -> None:
    talk = await Conversation.begin(store)
    (row,) = state_at(1).checkpoints
    await store.checkpoints.put(talk.thread_id, StateChange(checkpoints=(replace(row, checkpoint_ns="inner"),)))
    claim = await talk.accepted()
    assert (claim.head, claim.base_head) == (None, None)


async def test_a_superstep_moves_the_head_but_not_its_base(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), state=state_at(1))
    claim = await talk.accepted()
    assert (claim.head, claim.base_head, claim.resumes) == (checkpoint_id(1), checkpoint_id(1), False)
    for number in (2, 3):
        await talk.superstep(claim, state_at(number, parent=number - 1))
        claim = await reclaimed(talk)
        assert (claim.head, claim.base_head) == (checkpoint_id(number), checkpoint_id(1))
        assert (claim.head_event, claim.resumes) == (2, True)


async def test_the_first_superstep_of_a_new_thread_has_an_empty_base(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.superstep(await talk.accepted(), state_at(1))
    claim = await reclaimed(talk)
    assert (claim.head, claim.base_head, claim.resumes) == (checkpoint_id(1), "", True)
    await talk.finish(claim, FAILED, reverts=True)
    assert await talk.head() is None, "an empty base was taken for 'adopt the highest id'"
    claim = await talk.accepted()
    assert (claim.head, claim.base_head, claim.resumes) == ("", "", False)


async def test_the_base_of_an_adopted_thread_is_what_the_official_saver_left(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for number in (4, 5):
        await store.checkpoints.put(talk.thread_id, StateChange(checkpoints=state_at(number).checkpoints))
    claim = await talk.accepted()
    assert (claim.head, claim.base_head) == (None, None)
    assert await talk.head() == checkpoint_id(5)
    await talk.superstep(claim, both(state_at(6, parent=5), state_at(7, parent=6)))
    claim = await reclaimed(talk)
    assert (claim.head, claim.base_head) == (checkpoint_id(7), checkpoint_id(5))
    await talk.finish(claim, FAILED, reverts=True)
    assert await talk.head() == checkpoint_id(5)


async def test_a_head_left_by_a_finishing_commit_is_at_rest(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.superstep(claim, state_at(1))
    await talk.finish(claim, state=state_at(2))
    claim = await talk.accepted()
    assert (claim.head, claim.base_head, claim.resumes) == (checkpoint_id(2), checkpoint_id(2), False)


async def test_a_finish_without_new_state_rests_on_the_last_superstep(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.superstep(claim, state_at(1))
    await talk.finish(claim)
    claim = await talk.accepted()
    assert (claim.head, claim.base_head, claim.resumes) == (checkpoint_id(1), checkpoint_id(1), False)


async def test_reverting_takes_back_the_heads_of_every_namespace(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), state=both(state_at(1), state_at(2, ns="sub")))
    claim = await talk.accepted()
    await talk.superstep(claim, both(state_at(3, parent=1), state_at(4, ns="sub", parent=2)))
    await talk.superstep(claim, state_at(5, ns="new"))
    assert [await talk.head(ns) for ns in ("", "sub", "new")] == [checkpoint_id(n) for n in (3, 4, 5)]
    committed = await talk.finish(claim, FAILED, reverts=True)
    assert [entry.body for entry in committed.entries] == [FAILED]
    assert [await talk.head(ns) for ns in ("", "sub", "new")] == [checkpoint_id(1), checkpoint_id(2), None]
    claim = await talk.accepted()
    assert (claim.head, claim.base_head, claim.resumes) == (checkpoint_id(1), checkpoint_id(1), False)
    assert claim.head_event < 2, "the event that was taken back still counts as the head's author"


async def test_a_reverted_event_is_followed_by_the_next_on_the_old_head(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), state=state_at(1))
    claim = await talk.accepted()
    await talk.accept()
    await talk.superstep(claim, state_at(2, parent=1))
    following = (await talk.finish(claim, FAILED, reverts=True)).next
    assert following is not None
    assert (following.head, following.base_head) == (checkpoint_id(1), checkpoint_id(1))
    assert (following.event.seq, following.resumes) == (3, False)


async def test_a_foreign_checkpoint_with_a_higher_id_does_not_become_the_head(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), state=state_at(1))
    await store.checkpoints.put(talk.thread_id, StateChange(checkpoints=state_at(9).checkpoints))
    assert await talk.head() == checkpoint_id(1)
    assert (await talk.accepted()).head == checkpoint_id(1)


async def test_state_put_between_turns_is_what_the_next_failure_goes_back_to(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), state=state_at(1))
    await store.checkpoints.put(talk.thread_id, state_at(2, parent=1))
    claim = await talk.accepted()
    assert (claim.head, claim.base_head, claim.resumes) == (checkpoint_id(2), checkpoint_id(2), False)
    await talk.superstep(claim, state_at(3, parent=2))
    await talk.finish(claim, FAILED, reverts=True)
    assert await talk.head() == checkpoint_id(2)
