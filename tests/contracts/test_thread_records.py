"""Threads as LangGraph's clients keep them: made before anything runs, described, found, discarded."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import Conversation, said, unique
from tests.contracts.subjects import Subject
from unbroken.domain.catalogue import ANY, MAX_METADATA, RecordStatus, SortBy, ThreadQuery, ThreadRecord, Where
from unbroken.domain.effects import CloseQuestion, EffectBody, ReportFailure, RequestInput, SkipEvent
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted
from unbroken.domain.events import InputResponse, StateUpdate
from unbroken.domain.session import SessionKey

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def talk_in(store: Subject, user: str, thread: str) -> Conversation:
    return Conversation(store, (await Conversation.begin(store)).replica, SessionKey(user, "demo", thread))


async def found(store: Subject, user: str, query: ThreadQuery | None = None) -> list[str]:
    return [record.thread_id for record in await store.thread_records.search(user, query or ThreadQuery(), limit=99)]


async def test_a_thread_is_made_once_and_belongs_to_its_maker(store: Subject) -> None:
    user, thread = unique("user"), unique("thread")
    assert await store.thread_records.create(user, thread, {"colour": "red"})
    assert not await store.thread_records.create(user, thread, {"colour": "blue"})
    record = await store.thread_records.get(user, thread)
    assert (record.thread_id, record.agent_id, record.metadata) == (thread, None, {"colour": "red"})
    assert (record.status, record.created_at) == (RecordStatus.IDLE, record.updated_at)
    for call in (
        store.thread_records.create("somebody", thread, {}),
        store.thread_records.get("somebody", thread),
        store.thread_records.describe("somebody", thread, {"colour": "green"}),
        store.thread_records.discard("somebody", thread),
        store.threads.create(SessionKey("somebody", "demo", thread)),
    ):
        with pytest.raises(NotYourThread):
            await call
    assert await found(store, "somebody") == []
    assert await store.thread_records.get(user, thread) == record


async def test_the_first_event_binds_a_thread_and_only_its_maker_may_send_it(store: Subject) -> None:
    user, thread = unique("user"), unique("thread")
    await store.thread_records.create(user, thread, {"colour": "red"})
    stranger = await talk_in(store, "somebody", thread)
    with pytest.raises(NotYourThread):
        await stranger.accept()
    mine = await talk_in(store, user, thread)
    assert (await mine.accept()).event.seq == 1
    record = await store.thread_records.get(user, thread)
    assert (record.agent_id, record.status) == ("demo", RecordStatus.BUSY)
    assert record.metadata == {"colour": "red", "graph_id": "demo"}
    with pytest.raises(NotYourThread):
        await stranger.accept()
    assert await store.threads.count(user) == 1


@pytest.mark.parametrize("round_", range(4))
async def test_a_thread_that_two_users_reach_for_at_once_is_one_of_theirs(store: Subject, round_: int) -> None:
    thread = unique("thread")
    a, b = await talk_in(store, unique("a"), thread), await talk_in(store, unique("b"), thread)
    calls = [
        store.thread_records.create(a.key.user_id, thread, {}),
        b.accept(),
        store.thread_records.create(b.key.user_id, thread, {}),
        a.accept(),
        store.threads.create(b.key),
    ]
    results = await asyncio.gather(*calls[round_:], *calls[:round_], return_exceptions=True)
    assert all(not isinstance(result, Exception) or isinstance(result, NotYourThread) for result in results), results
    owners = [talk.key.user_id for talk in (a, b) if thread in await found(store, talk.key.user_id)]
    assert len(owners) == 1
    view = await store.sessions.view(thread)
    assert view is not None
    assert view.key.user_id == owners[0]


async def test_threads_of_the_chat_are_there_and_tell_where_they_stand(store: Subject) -> None:
    user = unique("user")
    talk = await talk_in(store, user, unique("thread"))

    async def status() -> str:
        record = await store.thread_records.get(user, talk.thread_id)
        assert await found(store, user, ThreadQuery(status=record.status)) == [talk.thread_id]
        others = set(RecordStatus) - {record.status}
        assert [await found(store, user, ThreadQuery(status=other)) for other in others] == [[]] * len(others)
        return record.status

    claim = await talk.accepted()
    assert await status() == "busy"
    await talk.finish(claim, said(""), RequestInput("i:1", "sure?"), open_questions=("i:1",))
    assert await status() == "interrupted"
    claim = await talk.accepted(talk.new(InputResponse("i:1", "yes")))
    await talk.finish(claim, ReportFailure("model_failed", "no", 1), open_questions=())
    assert await status() == "error"
    await talk.finish(await talk.accepted(), said("fine"))
    assert await status() == "idle"


async def test_a_change_of_the_state_says_where_it_leaves_a_thread_until_something_is_said(store: Subject) -> None:
    user = unique("user")
    talk = await talk_in(store, user, unique("thread"))

    async def after(*bodies: EffectBody, open_questions: tuple[str, ...] | None = ()) -> str:
        claim = await talk.accepted(talk.new(StateUpdate({"a": 1})) if SkipEvent in map(type, bodies) else talk.new())
        await talk.finish(claim, *bodies, open_questions=open_questions)
        record = await store.thread_records.get(user, talk.thread_id)
        assert await found(store, user, ThreadQuery(status=record.status)) == [talk.thread_id]
        return record.status

    stands, ended = SkipEvent("changed", stands=True), SkipEvent("changed", stands=False)
    assert await after(stands) == "interrupted", "nothing was said in the thread so far"
    assert await after(said("what?"), RequestInput("q:2", "sure?"), open_questions=("q:2",)) == "interrupted"
    assert await after(CloseQuestion("q:2", "superseded"), stands) == "interrupted"
    assert await after(SkipEvent("no such node", "model_failed")) == "interrupted", "nothing was changed"
    assert await after(ended) == "idle"
    assert await after(ReportFailure("model_failed", "no", 1)) == "error"
    assert await after(SkipEvent("no such node", "model_failed")) == "error"
    assert await after(SkipEvent("overtaken")) == "error", "a timer that nobody waits for changes nothing"
    assert await after(ended) == "idle"
    assert await after(stands) == "interrupted"
    assert await after(said("fine")) == "idle"


async def test_metadata_are_merged_pair_by_pair_in_threads_of_either_kind(store: Subject) -> None:
    user = unique("user")
    talk = await talk_in(store, user, unique("bound"))
    await talk.finish(await talk.accepted())
    unbound = unique("unbound")
    await store.thread_records.create(user, unbound, {"a": 1, "deep": {"x": 1}})
    for thread in (talk.thread_id, unbound):
        before = await store.thread_records.get(user, thread)
        await store.thread_records.describe(user, thread, {"b": 2, "deep": {"y": 2}})
        await store.thread_records.describe(user, thread, {"b": None})
        after = await store.thread_records.get(user, thread)
        assert after.metadata == before.metadata | {"b": None, "deep": {"y": 2}}
        assert after.created_at == before.created_at
        assert after.updated_at >= before.updated_at
        assert after.state_updated_at == before.state_updated_at == before.updated_at
    described = await store.thread_records.get(user, talk.thread_id)
    await talk.finish(await talk.accepted())
    assert (await store.thread_records.get(user, talk.thread_id)).state_updated_at >= described.updated_at
    with pytest.raises(NotYourThread):
        await store.thread_records.describe(user, unique("absent"), {})


async def test_metadata_never_outgrow_their_limit_however_they_are_set(store: Subject) -> None:
    user, thread = unique("user"), unique("thread")
    half = "x" * (MAX_METADATA // 2)
    with pytest.raises(InvalidValue):
        await store.thread_records.create(user, thread, {"a": half, "b": half})
    assert await store.thread_records.create(user, thread, {"a": half})
    for metadata in ({"b": half}, {"b": "\x00"}):
        with pytest.raises(InvalidValue):
            await store.thread_records.describe(user, thread, metadata)
    assert (await store.thread_records.get(user, thread)).metadata == {"a": half}


TOLD = {"owner": "ann", "n": 1, "tags": ["x", "y"], "deep": {"a": 1, "b": [{"c": 2, "d": 3}]}, "yes": True, "no": None}


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        (ANY, True),
        ((), False),
        ((({"owner": "ann"},),), True),
        ((({"owner": "bob"},),), False),
        ((({"owner": "ann"}, {"n": 1}),), True),
        ((({"owner": "ann"}, {"n": 2}),), False),
        ((({"owner": "bob"},), ({"n": 1},)), True),
        ((({"tags": ["y"]},),), True),
        ((({"tags": ["y", "z"]},),), False),
        ((({"tags": "x"},),), False),
        ((({"deep": {"b": [{"d": 3}]}},),), True),
        ((({"deep": {"b": [{"c": 3}]}},),), False),
        ((({"n": 1.0},),), True),
        ((({"n": True},),), False),
        ((({"yes": True},),), True),
        ((({"yes": 1},),), False),
        ((({"no": None},),), True),
        ((({"absent": None},),), False),
        ((({"deep": {}},),), True),
        ((({"owner": {}},),), False),
        ((({"owner": []},),), False),
    ],
)
async def test_a_search_by_metadata_finds_what_contains_them(store: Subject, where: Where, holds: bool) -> None:
    user, thread = unique("user"), unique("thread")
    await store.thread_records.create(user, thread, TOLD)
    await store.thread_records.create(unique("other"), unique("thread"), TOLD)
    query = ThreadQuery(where)
    assert await found(store, user, query) == ([thread] if holds else [])
    assert await store.thread_records.count(user, query) == int(holds)


async def test_a_bound_threads_graph_is_found_by_its_id(store: Subject) -> None:
    user = unique("user")
    talk = await talk_in(store, user, unique("thread"))
    await talk.accept()
    await store.thread_records.create(user, unique("unbound"), {})
    assert await found(store, user, ThreadQuery((({"graph_id": "demo"},),))) == [talk.thread_id]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort_by", ["thread_id", "status", "created_at", "updated_at", "state_updated_at"])
async def test_pages_hold_each_thread_once_in_every_order(store: Subject, sort_by: SortBy, descending: bool) -> None:
    user = unique("user")
    for _ in range(5):
        await store.thread_records.create(user, unique("thread"), {})
    talk = await talk_in(store, user, unique("thread"))
    await talk.accept()
    records: list[ThreadRecord] = []
    for offset in (0, 2, 4, 6):
        records += await store.thread_records.search(
            user, ThreadQuery(), limit=2, offset=offset, sort_by=sort_by, descending=descending
        )
    assert len({record.thread_id for record in records}) == len(records) == 6
    keys = [(getattr(record, sort_by), record.thread_id) for record in records]
    assert keys == sorted(keys, reverse=descending)
    some = tuple(record.thread_id for record in records[:2])
    assert set(await found(store, user, ThreadQuery(ids=(*some, "absent")))) == set(some)


async def test_a_thread_in_which_nothing_ran_is_discarded_and_its_id_is_free(store: Subject) -> None:
    user, thread = unique("user"), unique("thread")
    await store.thread_records.create(user, thread, {})
    assert await store.thread_records.discard(user, thread)
    with pytest.raises(NotYourThread):
        await store.thread_records.discard(user, thread)
    assert await store.thread_records.create("somebody else", thread, {})
    talk = await talk_in(store, user, unique("thread"))
    await talk.accept()
    assert not await store.thread_records.discard(user, talk.thread_id)
    assert await found(store, user) == [talk.thread_id]


async def test_a_deleted_thread_takes_its_record_with_it_and_is_never_made_again(store: Subject) -> None:
    user, thread = unique("user"), unique("thread")
    await store.thread_records.create(user, thread, {"secret": "open sesame"})
    await (await talk_in(store, user, thread)).accept()
    await store.threads.delete(user, thread)
    assert await found(store, user) == []
    for call in (
        store.thread_records.get(user, thread),
        store.thread_records.create(user, thread, {}),
        store.thread_records.describe(user, thread, {}),
    ):
        with pytest.raises(ThreadDeleted):
            await call
    told = [record async for record in store.user_data.export(user)]
    assert "open sesame" not in str(told)


async def test_threads_in_which_nothing_ran_are_counted_exported_and_erased_with_their_user(store: Subject) -> None:
    user, thread = unique("user"), unique("thread")
    await store.thread_records.create(user, thread, {"secret": "open sesame"})
    assert await store.threads.count(user) == 1
    told = [record async for record in store.user_data.export(user)]
    assert [(record["record"], record["threadId"], record["metadata"]) for record in told] == [
        ("note", thread, {"secret": "open sesame"})
    ]
    await store.user_data.erase(user)
    assert await found(store, user) == []
    assert await store.threads.count(user) == 0


async def test_threads_in_which_nothing_ran_for_long_expire(store: Subject) -> None:
    user, thread = unique("user"), unique("thread")
    await store.thread_records.create(user, thread, {})
    await store.user_data.expire(idle_s=3600.0, after="", limit=9)
    assert await found(store, user) == [thread]
    await asyncio.sleep(0.002)
    await store.user_data.expire(idle_s=0.001, after="", limit=9)
    assert await found(store, user) == []
