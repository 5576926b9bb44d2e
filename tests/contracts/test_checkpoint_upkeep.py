"""CheckpointUpkeep: wholesale changes, each one transaction."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import Conversation, checkpoint_id, state_at, unique
from tests.contracts.subjects import Subject
from unbroken.domain.checkpoints import CheckpointRow, StateChange, WriteRow
from unbroken.domain.effects import ReportFailure
from unbroken.domain.errors import InvalidValue

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def chain(store: Subject, *numbers: int, ns: str = "", thread_id: str = "", run_id: str = "run") -> str:
    thread_id = thread_id or unique("thread")
    parent: int | None = None
    for number in numbers:
        write = WriteRow(ns, checkpoint_id(number), "task", "", 0, "messages", "msgpack", b"w", False)
        state = state_at(number, ns=ns, parent=parent, run_id=run_id)
        await store.checkpoints.put(thread_id, replace(state, writes=(write,)))
        parent = number
    return thread_id


async def stored(store: Subject, thread_id: str, ns: str = "") -> list[str]:
    return [found.row.checkpoint_id for found in await store.checkpoints.history(thread_id, ns)]


def ids(*numbers: int) -> list[str]:
    return [checkpoint_id(number) for number in numbers]


async def test_deleting_a_threads_state_leaves_its_conversation(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), state=state_at(1))
    await store.checkpoint_upkeep.delete_thread(talk.thread_id)
    assert await stored(store, talk.thread_id) == []
    assert await talk.log() == [(1, "answer 1")]
    claim = await talk.accepted()
    assert (claim.event.seq, claim.head, claim.base_head) == (2, "", "")
    await talk.finish(claim, state=state_at(2))
    assert await talk.head() == checkpoint_id(2)


async def test_deleting_one_thread_leaves_the_others(store: Subject) -> None:
    one, two = await chain(store, 1, 2), await chain(store, 1, 2)
    await store.checkpoint_upkeep.delete_thread(one)
    await store.checkpoint_upkeep.delete_thread(unique("thread"))
    assert (await stored(store, one), await stored(store, two)) == ([], ids(2, 1))


async def test_deleting_runs_removes_their_checkpoints_everywhere(store: Subject) -> None:
    one = await chain(store, 1, 2, run_id="keep")
    await chain(store, 3, 4, thread_id=one, run_id="drop-a")
    await chain(store, 5, thread_id=one, ns="sub", run_id="drop-b")
    two = await chain(store, 6, run_id="drop-a")
    await store.checkpoint_upkeep.delete_runs([])
    assert len(await stored(store, one)) == 4
    await store.checkpoint_upkeep.delete_runs(["drop-a", "drop-b", "unknown"])
    assert (await stored(store, one), await stored(store, one, "sub"), await stored(store, two)) == (ids(2, 1), [], [])


async def test_a_head_whose_run_was_deleted_does_not_dangle(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await chain(store, 1, 2, thread_id=talk.thread_id, run_id="keep")
    await store.checkpoints.put(talk.thread_id, state_at(3, parent=2, run_id="drop"))
    await store.checkpoint_upkeep.delete_runs(["drop"])
    assert await talk.head() == checkpoint_id(2)
    claim = await talk.accepted()
    assert (claim.head, claim.base_head) == (checkpoint_id(2), checkpoint_id(2))


async def test_a_copy_is_equal_and_lives_its_own_life(store: Subject) -> None:
    source, target = await chain(store, 1, 2, 3), unique("thread")
    await chain(store, 4, ns="sub", thread_id=source)
    await store.checkpoints.put(source, StateChange(heads=(("", checkpoint_id(2)),)))
    await store.checkpoint_upkeep.copy_thread(source, target)
    for ns in ("", "sub"):
        ours, theirs = [await store.checkpoints.history(thread, ns) for thread in (target, source)]
        assert [replace(found, thread_id="") for found in ours] == [replace(found, thread_id="") for found in theirs]
    head = await store.checkpoints.load(target, "", None)
    assert head is not None
    assert (head.row.checkpoint_id, head.thread_id, len(head.writes)) == (checkpoint_id(2), target, 1)
    await store.checkpoints.put(target, state_at(9))
    assert checkpoint_id(9) not in await stored(store, source)


async def test_a_copy_never_mixes_with_what_is_there(store: Subject) -> None:
    source, target = await chain(store, 1), await chain(store, 2)
    with pytest.raises(InvalidValue):
        await store.checkpoint_upkeep.copy_thread(source, target)
    assert await stored(store, target) == ids(2)


async def test_pruning_keeps_what_the_heads_reach_in_each_namespace(store: Subject) -> None:
    one, bystander = await chain(store, 1, 2, 3), await chain(store, 1, 2)
    await chain(store, 4, 5, ns="sub", thread_id=one)
    await store.checkpoints.put(one, StateChange(heads=(("", checkpoint_id(2)),)))
    await store.checkpoint_upkeep.prune([one, unique("thread")], keep_latest=True)
    assert (await stored(store, one), await stored(store, one, "sub")) == (ids(2), ids(5))
    found = await store.checkpoints.load(one, "", None)
    assert found is not None
    assert (len(found.blobs), len(found.writes)) == (1, 1)
    assert await stored(store, bystander) == ids(2, 1)


async def test_pruning_keeps_what_a_failure_goes_back_to(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), state=state_at(1))
    claim = await talk.accepted()
    await talk.superstep(claim, state_at(2, parent=1))
    await talk.superstep(claim, state_at(3, parent=2))
    await store.checkpoint_upkeep.prune([talk.thread_id], keep_latest=True)
    assert await stored(store, talk.thread_id) == ids(3, 1)
    await talk.finish(claim, ReportFailure("model_failed", "no", 1), reverts=True)
    assert await talk.head() == checkpoint_id(1)


async def test_pruning_keeps_the_latest_of_a_thread_that_has_no_head(store: Subject) -> None:
    thread_id = unique("thread")
    for number in (1, 2):
        await store.checkpoints.put(thread_id, replace(state_at(number), heads=()))
    await store.checkpoint_upkeep.prune([thread_id], keep_latest=True)
    assert await stored(store, thread_id) == ids(2)


async def test_pruning_keeps_the_ancestors_that_a_delta_channel_is_built_from(store: Subject) -> None:
    thread_id = unique("thread")
    for number, metadata in enumerate((b"{}", b"{}", b'{"counters_since_delta_snapshot": {}}'), 1):
        parent = checkpoint_id(number - 1) if number > 1 else None
        row = CheckpointRow("", checkpoint_id(number), parent, b"{}", metadata)
        await store.checkpoints.put(thread_id, StateChange(checkpoints=(row,), heads=(("", row.checkpoint_id),)))
    await store.checkpoint_upkeep.prune([thread_id], keep_latest=True)
    assert checkpoint_id(2) in await stored(store, thread_id)


async def test_pruning_everything_leaves_nothing(store: Subject) -> None:
    one, two = await chain(store, 1, 2), await chain(store, 3)
    await store.checkpoint_upkeep.prune([], keep_latest=False)
    await store.checkpoint_upkeep.prune([one], keep_latest=False)
    assert (await stored(store, one), await stored(store, two)) == ([], ids(3))
    assert await store.checkpoints.load(one, "", None) is None
