"""Checkpoints: committed agent state, read by id or by head."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.contracts.conversation import Conversation, checkpoint_id, state_at, unique
from tests.contracts.subjects import Subject
from unbroken.domain.checkpoints import BlobRow, CheckpointRow, StateChange, StoredCheckpoint, WriteRow
from unbroken.domain.errors import InvalidValue

pytestmark = pytest.mark.asyncio(loop_scope="session")


def write(
    number: int, idx: int, *, task: str = "task", path: str = "~1", replaces: bool = False, **more: Any
) -> WriteRow:
    fields = {"channel": "messages", "type": "msgpack", "blob": b"write", **more}
    return WriteRow("", checkpoint_id(number), task, path, idx, replaces=replaces, **fields)


def ids(found: Any) -> list[str]:
    return [stored.row.checkpoint_id for stored in found]


async def loaded(store: Subject, thread_id: str, number: int | None = None, ns: str = "") -> StoredCheckpoint:
    stored = await store.checkpoints.load(thread_id, ns, None if number is None else checkpoint_id(number))
    assert stored is not None
    return stored


async def test_what_was_put_is_loaded_by_id_and_by_head(store: Subject) -> None:
    thread_id, state = unique("thread"), state_at(1)
    await store.checkpoints.put(thread_id, state)
    for stored in (await loaded(store, thread_id), await loaded(store, thread_id, 1)):
        assert (stored.thread_id, stored.blobs, stored.writes) == (thread_id, state.blobs, ())
        assert replace(stored.row, checkpoint=b"", metadata=b"") == replace(
            state.checkpoints[0], checkpoint=b"", metadata=b""
        )
        assert json.loads(stored.row.checkpoint) == json.loads(state.checkpoints[0].checkpoint)
        assert json.loads(stored.row.metadata) == json.loads(state.checkpoints[0].metadata)


async def test_nothing_is_loaded_from_where_nothing_is(store: Subject) -> None:
    thread_id = unique("thread")
    assert await store.checkpoints.load(thread_id, "", None) is None
    await store.checkpoints.put(thread_id, state_at(1))
    assert await store.checkpoints.load(thread_id, "", checkpoint_id(2)) is None
    assert await store.checkpoints.load(thread_id, "other", None) is None
    assert await store.checkpoints.load(thread_id, "other", checkpoint_id(1)) is None


async def test_the_head_is_a_pointer_and_not_the_highest_id(store: Subject) -> None:
    thread_id = unique("thread")
    await store.checkpoints.put(thread_id, state_at(5))
    await store.checkpoints.put(thread_id, state_at(3))
    assert (await loaded(store, thread_id)).row.checkpoint_id == checkpoint_id(3)
    await store.checkpoints.put(thread_id, StateChange(heads=(("", ""),)))
    assert await store.checkpoints.load(thread_id, "", None) is None


async def test_a_thread_that_never_had_a_head_adopts_its_highest_id(store: Subject) -> None:
    thread_id = unique("thread")
    for number in (1, 3, 2):
        await store.checkpoints.put(thread_id, replace(state_at(number), heads=()))
        await store.checkpoints.put(thread_id, replace(state_at(number + 5, ns="sub"), heads=()))
    assert (await loaded(store, thread_id)).row.checkpoint_id == checkpoint_id(3)
    assert (await loaded(store, thread_id, ns="sub")).row.checkpoint_id == checkpoint_id(8)


async def test_a_checkpoint_comes_with_exactly_the_blobs_its_versions_name(store: Subject) -> None:
    thread_id = unique("thread")
    versions = {"a": "2", "b": "1", "gone": "7"}
    row = replace(state_at(1).checkpoints[0], checkpoint=json.dumps({"channel_versions": versions}).encode())
    blobs = [
        BlobRow("", channel, version, "msgpack", f"{channel}{version}".encode())
        for channel, version in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1"))
    ]
    blobs += [BlobRow("sub", "a", "2", "msgpack", b"elsewhere"), BlobRow("", "empty", "1", "empty", None)]
    await store.checkpoints.put(thread_id, StateChange(checkpoints=(row,), blobs=tuple(blobs)))
    found = (await loaded(store, thread_id)).blobs
    assert {(blob.channel, blob.version, blob.blob) for blob in found} == {("a", "2", b"a2"), ("b", "1", b"b1")}
    row = replace(row, checkpoint=b'{"channel_versions": {"empty": "1"}}')
    await store.checkpoints.put(thread_id, StateChange(checkpoints=(row,)))
    assert (await loaded(store, thread_id)).blobs == (BlobRow("", "empty", "1", "empty", None),)


async def test_a_checkpoint_is_replaced_and_a_blob_stands(store: Subject) -> None:
    thread_id, state = unique("thread"), state_at(1)
    await store.checkpoints.put(thread_id, state)
    again = replace(state.checkpoints[0], metadata=b'{"step": 99}')
    await store.checkpoints.put(
        thread_id, StateChange(checkpoints=(again,), blobs=(replace(state.blobs[0], blob=b"another"),))
    )
    stored = await loaded(store, thread_id)
    assert (json.loads(stored.row.metadata), stored.blobs) == ({"step": 99}, state.blobs)


async def test_writes_come_in_task_order_and_the_first_one_stands_unless_it_replaces(store: Subject) -> None:
    thread_id = unique("thread")
    await store.checkpoints.put(thread_id, state_at(1))
    rows = (
        write(1, 1, path="~2", task="a"),
        write(1, 0, path="~1", task="b"),
        write(1, -3, path="~1", task="a", channel="__interrupt__", replaces=True),
        write(1, 2, path="~1", task="a"),
        write(1, 0, path="", task="z"),
    )
    await store.checkpoints.put(thread_id, StateChange(writes=rows))
    assert [(row.task_path, row.task_id, row.idx) for row in (await loaded(store, thread_id)).writes] == [
        ("", "z", 0), ("~1", "a", -3), ("~1", "a", 2), ("~1", "b", 0), ("~2", "a", 1)
    ]  # fmt: skip
    again = tuple(replace(row, blob=b"again") for row in rows)
    await store.checkpoints.put(thread_id, StateChange(writes=again))
    found = (await loaded(store, thread_id)).writes
    assert [row.idx for row in found if row.blob == b"again"] == [-3]
    assert len(found) == 5


async def test_writes_stay_with_their_checkpoint(store: Subject) -> None:
    thread_id = unique("thread")
    for number in (1, 2):
        await store.checkpoints.put(thread_id, state_at(number))
    await store.checkpoints.put(thread_id, StateChange(writes=(write(1, 0), write(2, 0), write(2, 1))))
    assert [len((await loaded(store, thread_id, number)).writes) for number in (1, 2)] == [1, 2]


async def test_history_is_newest_first_and_obeys_its_filters(store: Subject) -> None:
    thread_id, other = unique("thread"), unique("thread")
    for number in (2, 1, 4, 3):
        await store.checkpoints.put(thread_id, state_at(number, run_id="odd" if number % 2 else "even"))
    await store.checkpoints.put(thread_id, state_at(5, ns="sub"))
    await store.checkpoints.put(other, state_at(6))
    history = store.checkpoints.history
    everything = [checkpoint_id(number) for number in (4, 3, 2, 1)]
    assert ids(await history(thread_id, "")) == everything
    assert ids(await history(thread_id, None)) == [checkpoint_id(5), *everything]
    assert ids(await history(thread_id, "", before=checkpoint_id(3))) == everything[2:]
    assert ids(await history(thread_id, "", limit=2)) == everything[:2]
    assert ids(await history(thread_id, "", limit=0)) == []
    assert ids(await history(thread_id, "", metadata={"run_id": "odd"})) == [checkpoint_id(3), checkpoint_id(1)]
    assert ids(await history(thread_id, "", metadata={"run_id": "odd", "step": 1})) == [checkpoint_id(1)]
    assert ids(await history(thread_id, "", metadata={"missing": None})) == []
    assert ids(await history(thread_id, "", metadata={"run_id": "odd"}, limit=1)) == [checkpoint_id(3)]
    mine = [stored for stored in await history(None, "") if stored.thread_id in (thread_id, other)]
    assert ids(mine) == [checkpoint_id(6), *everything]


async def test_history_carries_blobs_and_writes(store: Subject) -> None:
    thread_id = unique("thread")
    for number in (1, 2):
        await store.checkpoints.put(thread_id, state_at(number))
    await store.checkpoints.put(thread_id, StateChange(writes=(write(1, 0),)))
    newest, oldest = await store.checkpoints.history(thread_id, "")
    assert (newest.blobs, newest.writes) == (state_at(2).blobs, ())
    assert (oldest.blobs, oldest.writes) == (state_at(1).blobs, (write(1, 0),))


async def test_pending_sends_of_old_checkpoints_come_in_task_order(store: Subject) -> None:
    thread_id = unique("thread")
    sends = [
        write(1, idx, task=task, path=path, channel="__pregel_tasks", blob=f"{path}{task}{idx}".encode())
        for path, task, idx in (("~2", "a", 0), ("~1", "b", 1), ("~1", "b", 0), ("~1", "a", 5))
    ]
    await store.checkpoints.put(thread_id, replace(state_at(1), writes=(*sends, write(1, 9, channel="messages"))))
    assert list(await store.checkpoints.sends(thread_id, "", checkpoint_id(1))) == [
        ("msgpack", blob) for blob in (b"~1a5", b"~1b0", b"~1b1", b"~2a0")
    ]
    assert list(await store.checkpoints.sends(thread_id, "", checkpoint_id(2))) == []


async def test_values_of_any_bytes_survive(store: Subject) -> None:
    thread_id, blob = unique("thread"), bytes(range(256)) * 1000
    row = CheckpointRow("", checkpoint_id(1), None, b'{"channel_versions": {"c": "1"}, "x": "n\xc3\xa9"}', b"{}")
    state = StateChange((row,), (BlobRow("", "c", "1", "bytes", blob),), (write(1, 0, blob=blob),))
    await store.checkpoints.put(thread_id, state)
    stored = await loaded(store, thread_id)
    assert (stored.blobs[0].blob, stored.writes[0].blob) == (blob, blob)
    assert json.loads(stored.row.checkpoint)["x"] == "né"


async def test_a_failing_put_leaves_nothing(store: Subject) -> None:
    talk = await Conversation.begin(store)
    broken = replace(state_at(2).checkpoints[0], metadata=b"{not json")
    with pytest.raises(InvalidValue):
        await store.checkpoints.put(talk.thread_id, replace(state_at(2), checkpoints=(broken,)))
    assert await talk.head() is None
    assert list(await store.checkpoints.history(talk.thread_id, None)) == []
