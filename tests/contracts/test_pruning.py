"""Pruning in the finishing commit: what nothing goes back to any more is removed, and nothing else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import Conversation, checkpoint_id, state_at
from tests.contracts.subjects import Subject
from unbroken.domain.checkpoints import CheckpointRow, StateChange, WriteRow
from unbroken.domain.effects import ReportFailure
from unbroken.domain.events import NewEvent, UserMessage
from unbroken.domain.pruning import KEEP_BRANCHES, PRUNE_EVERY, prunes
from unbroken.domain.turn import Fork

pytestmark = pytest.mark.asyncio(loop_scope="session")

SUPERSTEPS = 3
"""Checkpoints an event."""


def last_of(seq: int) -> int:
    """The number of the checkpoint that an event ends with."""
    return SUPERSTEPS * seq


def states(seq: int, parent: int | None, ns: str = "") -> list[StateChange]:
    made: list[StateChange] = []
    for number in range(last_of(seq) - SUPERSTEPS + 1, last_of(seq) + 1):
        write = WriteRow(ns, checkpoint_id(number), "task", "", 0, "messages", "msgpack", b"w", False)
        made.append(replace(state_at(number, ns=ns, parent=parent), writes=(write,)))
        parent = number
    return made


async def turn(talk: Conversation, *, parent: int | None = None, replaces: str | None = None) -> None:
    seq = (await talk.view()).applied_seq + 1 if parent is not None else 1
    claim = await talk.accepted(
        NewEvent(f"event-{talk.thread_id}-{seq}", f"request-{seq}", UserMessage("more", replaces))
    )
    assert claim.event.seq == seq
    *steps, last = states(seq, parent)
    for step in steps:
        await talk.superstep(claim, step)
    await talk.finish(claim, state=last)


async def turns(store: Subject, count: int) -> Conversation:
    talk = await Conversation.begin(store)
    await turn(talk)
    for seq in range(2, count + 1):
        await turn(talk, parent=last_of(seq - 1))
    return talk


async def stored(talk: Conversation, ns: str = "") -> set[str]:
    return {found.row.checkpoint_id for found in await talk.store.checkpoints.history(talk.thread_id, ns)}


async def before(talk: Conversation, seq: int) -> Fork | None:
    return await talk.store.sessions.before(talk.thread_id, f"request-{seq}")


MANY = PRUNE_EVERY * (KEEP_BRANCHES // PRUNE_EVERY + 4) - 1
assert prunes(MANY)


async def test_a_long_conversation_holds_as_many_checkpoints_as_can_be_gone_back_to(store: Subject) -> None:
    talk = await turns(store, MANY)
    ends = {checkpoint_id(last_of(seq)) for seq in range(MANY - KEEP_BRANCHES, MANY + 1)}
    assert await stored(talk) == ends
    history = await store.checkpoints.history(talk.thread_id, "")
    assert [len(found.blobs) for found in history] == [1] * len(ends)
    assert [len(found.writes) for found in history] == [1] * len(ends)
    assert await talk.head() == checkpoint_id(last_of(MANY))
    assert len(await talk.log()) == MANY


async def test_the_latest_messages_can_be_replaced_and_those_before_them_not(store: Subject) -> None:
    talk = await turns(store, MANY)
    for seq in range(MANY - KEEP_BRANCHES + 1, MANY + 1):
        assert await before(talk, seq) == Fork((("", checkpoint_id(last_of(seq - 1))),))
    assert await before(talk, MANY - KEEP_BRANCHES) is None
    assert await before(talk, 2) is None
    assert await before(talk, 1) == Fork((("", ""),))


async def test_between_two_prunings_nothing_is_removed(store: Subject) -> None:
    talk = await turns(store, PRUNE_EVERY - 2)
    assert len(await stored(talk)) == SUPERSTEPS * (PRUNE_EVERY - 2)
    await turn(talk, parent=last_of(PRUNE_EVERY - 2))
    assert await stored(talk) == {checkpoint_id(last_of(seq)) for seq in range(1, PRUNE_EVERY)}


async def test_a_message_that_is_asked_again_and_again_keeps_its_place(store: Subject) -> None:
    talk = await turns(store, 2)
    for seq in range(3, MANY + 1):
        await turn(talk, parent=last_of(1), replaces=f"request-{seq - 1}")
    assert await before(talk, MANY) == Fork((("", checkpoint_id(last_of(1))),))


async def test_a_value_that_a_branch_shares_with_what_was_removed_stays(store: Subject) -> None:
    """The other channel was written once, by a checkpoint that is gone; every later one names that version."""
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    first = state_at(1)
    await talk.finish(claim, state=first)
    for number in range(2, MANY + 1):
        state = state_at(number, parent=number - 1)
        (row,) = state.checkpoints
        versions = b'{"v": 4, "channel_versions": {"messages": "%032d", "once": "7"}}' % number
        once = replace(state.blobs[0], channel="once", version="7")
        rows = (replace(row, checkpoint=versions),)
        blobs = (*state.blobs, once) if number == 2 else state.blobs
        claim = await talk.accepted()
        await talk.finish(claim, state=replace(state, checkpoints=rows, blobs=blobs))
    head = await store.checkpoints.load(talk.thread_id, "", None)
    assert head is not None
    assert checkpoint_id(2) not in await stored(talk)
    assert [blob.channel for blob in head.blobs] == ["messages", "once"]


async def test_another_namespace_keeps_its_head_and_what_a_fork_would_take(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for seq in range(1, MANY + 1):
        claim = await talk.accepted(NewEvent(f"event-{talk.thread_id}-{seq}", f"request-{seq}", UserMessage("more")))
        if seq % 5 == 0:
            await talk.superstep(claim, state_at(2 * seq - 1, ns="sub", parent=2 * seq - 11 if seq > 5 else None))
        await talk.superstep(claim, state_at(2 * seq, ns="call:task"))
        await talk.finish(claim, state=state_at(2 * seq, parent=2 * seq - 2 if seq > 1 else None))
    forks = [await before(talk, seq) for seq in range(MANY - KEEP_BRANCHES + 1, MANY + 1)]
    assert all(fork is not None for fork in forks)
    for fork in forks:
        assert fork is not None
        for ns, id_ in fork.heads:
            assert not id_ or await store.checkpoints.load(talk.thread_id, ns, id_) is not None
    subs = await stored(talk, "sub")
    assert checkpoint_id(2 * (MANY // 5 * 5) - 1) in subs
    assert checkpoint_id(9) not in subs
    assert len(subs) <= KEEP_BRANCHES // 5 + 2
    assert await talk.head("sub") in subs


async def test_nothing_is_removed_while_a_question_is_open(store: Subject) -> None:
    talk = await turns(store, PRUNE_EVERY - 2)
    claim = await talk.accepted()
    assert prunes(claim.event.seq)
    state = state_at(last_of(claim.event.seq), parent=last_of(claim.event.seq - 1))
    await talk.finish(claim, state=state, open_questions=("i:7",))
    assert len(await stored(talk)) == SUPERSTEPS * (PRUNE_EVERY - 2) + 1


async def test_the_ancestors_that_a_delta_channel_is_built_from_stay(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for number in range(1, MANY + 1):
        parent = checkpoint_id(number - 1) if number > 1 else None
        row = CheckpointRow("", checkpoint_id(number), parent, b"{}", b'{"counters_since_delta_snapshot": {}}')
        claim = await talk.accepted()
        await talk.finish(claim, state=StateChange(checkpoints=(row,), heads=(("", row.checkpoint_id),)))
    assert len(await stored(talk)) == MANY


async def test_what_another_saver_put_above_the_head_is_not_ours_to_remove(store: Subject) -> None:
    talk = await turns(store, PRUNE_EVERY - 2)
    foreign = replace(state_at(999), heads=())
    await store.checkpoints.put(talk.thread_id, foreign)
    await turn(talk, parent=last_of(PRUNE_EVERY - 2))
    assert checkpoint_id(999) in await stored(talk)
    assert checkpoint_id(1) not in await stored(talk)


async def test_events_that_went_back_leave_what_they_went_back_to(store: Subject) -> None:
    talk = await turns(store, 2)
    request_id = ""
    for _ in range(MANY):
        claim = await talk.accepted()
        request_id = claim.event.request_id
        await talk.superstep(claim, state_at(100 + claim.event.seq, parent=last_of(2)))
        await talk.finish(claim, ReportFailure("model_failed", "no", claim.run), reverts=True)
    assert await talk.head() == checkpoint_id(last_of(2))
    fork = await talk.store.sessions.before(talk.thread_id, request_id)
    assert fork == Fork((("", checkpoint_id(last_of(2))),))
