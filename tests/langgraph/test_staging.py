"""What one attempt stages: read back as if stored, dropped when superseded, refused when the gate is closed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS
from langgraph.types import Send

from tests.langgraph.driving import Store
from unbroken.adapters.langgraph.saver import StagingSaver
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.errors import Fenced
from unbroken.domain.turn import Gate

pytestmark = pytest.mark.asyncio


def at(checkpoint_id: str | None = None, ns: str = "", thread_id: str = "thread") -> RunnableConfig:
    configurable: dict[str, Any] = {"thread_id": thread_id, "checkpoint_ns": ns}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def checkpoint(version: int, **values: Any) -> Checkpoint:
    made = empty_checkpoint()
    made["id"] = str(uuid6())
    made["v"] = 4
    made["channel_values"] = values
    made["channel_versions"] = dict.fromkeys(values, f"{version:032}.1")
    return made


class Thread:
    def __init__(self, store: Store, gate: Gate | None = None, head: str | None = "") -> None:
        self.store = store
        self.saver = StagingSaver(store.checkpoints, "thread", head=head, gate=gate)
        self.last: str | None = None

    async def put(self, version: int, *, ns: str = "", step: int = 0, parents: Any = None, **values: Any) -> str:
        made = checkpoint(version, **values)
        metadata: Any = {"source": "loop", "step": step, "parents": parents or {}}
        await self.saver.aput(at(self.last, ns), made, metadata, made["channel_versions"])
        self.last = made["id"]
        return self.last

    async def commit(self) -> StateChange:
        change = self.saver.take()
        await self.store.checkpoints.put("thread", change)
        return change

    async def head(self, ns: str = "") -> str | None:
        found = await self.saver.aget_tuple(at(ns=ns))
        return str(found.config["configurable"]["checkpoint_id"]) if found else None


async def test_reads_see_what_was_staged_without_sharing_its_objects(store: Store) -> None:
    thread = Thread(store)
    await thread.put(1, notes=["one"])
    found = await thread.saver.aget_tuple(at())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"notes": ["one"]}
    found.checkpoint["channel_values"]["notes"].append("two")
    again = await thread.saver.aget_tuple(at())
    assert again is not None
    assert again.checkpoint["channel_values"] == {"notes": ["one"]}
    assert await store.checkpoints.load("thread", "", None) is None


async def test_the_staged_head_comes_first_even_under_a_lower_id(store: Store) -> None:
    thread = Thread(store)
    high = await thread.put(1, notes=["high"])
    await thread.commit()
    made = checkpoint(2, notes=["low"])
    made["id"] = "00000000-0000-6000-8000-000000000000"
    await thread.saver.aput(at(high), made, {"source": "loop", "step": 1, "parents": {}}, made["channel_versions"])
    assert await thread.head() == made["id"]
    await thread.commit()
    assert await Thread(store, head=None).head() == made["id"]


async def test_a_superseded_checkpoint_is_dropped_and_its_child_takes_its_parent(store: Store) -> None:
    thread = Thread(store)
    base = await thread.put(1, notes=["base"], topic="t")
    await thread.commit()
    dropped = await thread.put(2, notes=["dropped"])
    await thread.saver.aput_writes(at(dropped), [("notes", ["written"])], "task")
    survivor = await thread.put(3, notes=["kept"])
    change = await thread.commit()
    assert [(row.checkpoint_id, row.parent_id) for row in change.checkpoints] == [(survivor, base)]
    assert [(blob.channel, blob.version) for blob in change.blobs] == [("notes", f"{3:032}.1")]
    assert change.writes == ()
    assert change.heads == (("", survivor),)


async def test_a_value_that_only_a_dropped_checkpoint_wrote_is_not_lost(store: Store) -> None:
    thread = Thread(store)
    await thread.put(1, notes=["one"])
    made = checkpoint(2, other=["two"])
    made["channel_values"]["notes"] = ["one"]
    made["channel_versions"]["notes"] = f"{1:032}.1"
    await thread.saver.aput(
        at(thread.last), made, {"source": "loop", "step": 1, "parents": {}}, {"other": f"{2:032}.1"}
    )
    await thread.commit()
    found = await Thread(store, head=None).saver.aget_tuple(at())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"notes": ["one"], "other": ["two"]}


async def test_nothing_is_written_twice_for_a_channel_that_did_not_change(store: Store) -> None:
    thread = Thread(store)
    await thread.put(1, notes=["one"])
    await thread.commit()
    made = checkpoint(1, notes=["one"])
    await thread.saver.aput(at(thread.last), made, {"source": "loop", "step": 1, "parents": {}}, {})
    assert (await thread.commit()).blobs == ()


async def test_writes_beside_the_head_are_kept_and_come_back_in_order(store: Store) -> None:
    thread = Thread(store)
    head = await thread.put(1, notes=["one"])
    for task_id, path, value in (("b", "~2", "x"), ("a", "~2", "y"), ("c", "~1", "z")):
        await thread.saver.aput_writes(at(head), [("notes", [value, 1]), ("notes", [value, 2])], task_id, path)
    expected = [(t, "notes", [v, i]) for t, v in (("c", "z"), ("a", "y"), ("b", "x")) for i in (1, 2)]
    staged = await thread.saver.aget_tuple(at())
    assert staged is not None
    assert staged.pending_writes == expected
    await thread.commit()
    stored = await Thread(store, head=None).saver.aget_tuple(at())
    assert stored is not None
    assert stored.pending_writes == expected


@pytest.mark.parametrize("committed_between", [False, True])
async def test_special_writes_replace_and_others_stand(store: Store, committed_between: bool) -> None:
    thread = Thread(store)
    head = await thread.put(1, notes=["one"])
    for round_ in ("first", "second"):
        await thread.saver.aput_writes(at(head), [("notes", [round_])], "task")
        for channel in (ERROR, INTERRUPT, RESUME):
            await thread.saver.aput_writes(at(head), [(channel, round_)], "task")
        if committed_between and round_ == "first":
            await thread.commit()
    expected = {"notes": ["first"], ERROR: "second", INTERRUPT: "second", RESUME: "second"}
    assert await writes_by_channel(thread.saver) == expected
    await thread.commit()
    assert await writes_by_channel(Thread(store, head=None).saver) == expected


async def writes_by_channel(saver: StagingSaver) -> dict[str, Any]:
    found = await saver.aget_tuple(at())
    assert found is not None
    return {channel: value for _, channel, value in found.pending_writes or []}


async def test_sends_of_an_old_format_are_found_beside_the_parent(store: Store) -> None:
    """Written by LangGraph before format 4: the sends wait in the parent's writes, in task order."""
    thread = Thread(store)
    parent = await thread.put(1, notes=["parent"])
    for task_id, path in (("b", "~1"), ("a", "~2")):
        await thread.saver.aput_writes(at(parent), [(TASKS, Send("node", task_id)), ("notes", ["x"])], task_id, path)
    await thread.commit()
    old = checkpoint(2, notes=["old"])
    old["v"] = 3
    await thread.saver.aput(at(parent), old, {"source": "loop", "step": 1, "parents": {}}, old["channel_versions"])
    await thread.commit()
    found = await Thread(store, head=None).saver.aget_tuple(at())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"notes": ["old"], TASKS: [Send("node", "b"), Send("node", "a")]}
    assert found.checkpoint["channel_versions"][TASKS] == old["channel_versions"]["notes"]


async def test_a_finished_subgraph_call_leaves_nothing(store: Store) -> None:
    thread = Thread(store)
    root = await thread.put(1, notes=["root"])
    thread.last = None
    call = await thread.put(1, ns="sub:task", parents={"": root}, inner=["x"])
    await thread.saver.aput_writes(at(call, "sub:task"), [("inner", ["y"])], "inner-task")
    assert await thread.head("sub:task") == call
    thread.last = root
    done = await thread.put(2, notes=["done"])
    change = await thread.commit()
    assert [(row.checkpoint_ns, row.checkpoint_id) for row in change.checkpoints] == [("", done)]
    assert change.writes == ()


async def test_an_unfinished_subgraph_call_is_kept_with_its_head(store: Store) -> None:
    thread = Thread(store)
    root = await thread.put(1, notes=["root"])
    thread.last = None
    call = await thread.put(1, ns="sub:task", parents={"": root}, inner=["x"])
    change = await thread.commit()
    assert set(change.heads) == {("", root), ("sub:task", call)}
    assert await Thread(store, head=root).head("sub:task") == call


class Counting:
    """Counts what is asked of the store."""

    def __init__(self, store: Store) -> None:
        self.asked: list[tuple[str, str | None]] = []
        load = store.checkpoints.load

        async def counted(thread_id: str, ns: str, checkpoint_id: str | None) -> Any:
            self.asked.append((ns, checkpoint_id))
            return await load(thread_id, ns, checkpoint_id)

        store.checkpoints.load = counted  # type: ignore[method-assign,assignment]


async def test_a_new_thread_and_a_new_subgraph_call_ask_the_store_nothing(store: Store) -> None:
    counting = Counting(store)
    thread = Thread(store)
    assert await thread.head() is None
    await thread.put(1, notes=["root"])
    assert await thread.head("sub:task") is None
    assert counting.asked == []


async def test_that_an_unknown_thread_is_empty_is_asked_once(store: Store) -> None:
    counting = Counting(store)
    thread = Thread(store, head=None)
    assert await thread.head() is None
    assert await thread.head() is None
    assert counting.asked == [("", None)]
    await thread.put(1, notes=["root"])
    assert len((await thread.commit()).heads) == 1


async def test_a_known_head_is_read_by_its_id_and_an_unknown_one_is_adopted_once(store: Store) -> None:
    thread = Thread(store)
    head = await thread.put(1, notes=["one"])
    await thread.commit()
    counting = Counting(store)
    known = Thread(store, head=head)
    assert await known.head() == head
    assert (await known.commit()).heads == ()
    unknown = Thread(store, head=None)
    assert await unknown.head() == await unknown.head() == head
    assert counting.asked == [("", head), ("", None), ("", head)]
    assert (await unknown.commit()).heads == (("", head),)


async def test_every_call_is_fenced_once_the_gate_is_closed(store: Store) -> None:
    gate = Gate()
    thread = Thread(store, gate)
    head = await thread.put(1, notes=["one"])
    gate.close("cancelled")
    with pytest.raises(Fenced):
        await thread.put(2, notes=["two"])
    with pytest.raises(Fenced):
        await thread.saver.aput_writes(at(head), [("notes", ["x"])], "task")
    with pytest.raises(Fenced):
        await thread.head()
    with pytest.raises(Fenced):
        _ = [found async for found in thread.saver.alist(at())]


async def test_a_shallow_copy_stages_into_the_same_turn(store: Store) -> None:
    thread = Thread(store)
    clone = copy.copy(thread.saver)
    await thread.put(1, notes=["one"])
    clone.take()
    thread.last = None
    await thread.put(2, notes=["two"])
    assert len(clone.take().checkpoints) == 1
    assert thread.saver.take() == StateChange()


async def test_another_thread_is_refused_by_name(store: Store) -> None:
    with pytest.raises(ValueError, match=r"'thread'.*'other'"):
        await Thread(store).saver.aget_tuple(at(thread_id="other"))


async def test_the_list_merges_staged_and_committed_newest_first(store: Store) -> None:
    thread = Thread(store)
    ids = [await thread.put(number, notes=[number], step=number) for number in range(3)]
    await thread.commit()
    ids.append(await thread.put(4, notes=[4], step=4))
    listed = [found.config["configurable"]["checkpoint_id"] async for found in thread.saver.alist(at())]
    assert listed == [ids[3], ids[2]]
    limited = [found async for found in thread.saver.alist(at(), limit=1)]
    assert [found.metadata["step"] for found in limited] == [4]
    below = [found async for found in thread.saver.alist(at(), before=at(ids[3]))]
    assert [found.metadata["step"] for found in below] == [2]
    filtered = [found async for found in thread.saver.alist(at(), filter={"step": 4})]
    assert len(filtered) == 1
