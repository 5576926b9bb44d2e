"""Files: what users attach to their threads."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import Conversation, unique
from tests.contracts.subjects import Subject
from unbroken.domain.errors import InvalidValue, NotYourThread, ThreadDeleted, TooManyFiles, UnknownFile
from unbroken.domain.files import StoredFile
from unbroken.domain.session import SessionKey

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = bytes(range(256)) * 9


async def thread(store: Subject) -> SessionKey:
    key = SessionKey(unique("user"), "demo", unique("thread"))
    await store.threads.create(key)
    return key


async def add(
    store: Subject, key: SessionKey, *, name: str = "a.png", data: bytes = PICTURE, limit: int = 9
) -> StoredFile:
    return await store.files.add(
        key.user_id, key.thread_id, file_id=unique("file"), name=name, mime_type="image/png", data=data, limit=limit
    )


async def test_a_file_is_read_back_as_it_was_written(store: Subject) -> None:
    key = await thread(store)
    for data in (PICTURE, b""):
        file = await add(store, key, name='ünï "quoted".png', data=data)
        assert (file.name, file.mime_type, file.size) == ('ünï "quoted".png', "image/png", len(data))
        assert await store.files.read(key.user_id, key.thread_id, file.file_id) == (file, data)


async def test_a_file_belongs_to_its_thread_and_user(store: Subject) -> None:
    key, other = await thread(store), await thread(store)
    file = await add(store, key)
    for user_id, thread_id in (
        (other.user_id, key.thread_id),
        (other.user_id, other.thread_id),
        (key.user_id, unique("absent")),
    ):
        with pytest.raises(UnknownFile):
            await store.files.read(user_id, thread_id, file.file_id)
    with pytest.raises(UnknownFile):
        await store.files.read(key.user_id, key.thread_id, "absent")
    stranger = SessionKey(other.user_id, "demo", key.thread_id)
    for refused in (stranger, SessionKey(key.user_id, "demo", unique("absent"))):
        with pytest.raises(NotYourThread):
            await add(store, refused)
    assert await store.files.missing(key, [file.file_id, "absent"]) == {"absent"}
    assert await store.files.missing(key, []) == frozenset()
    for asks in (stranger, other, SessionKey(key.user_id, "other", key.thread_id)):
        assert await store.files.missing(asks, [file.file_id]) == {file.file_id}


async def test_a_thread_has_no_more_files_than_it_may_however_many_come_at_once(store: Subject) -> None:
    key = await thread(store)
    outcomes = await asyncio.gather(*(add(store, key, limit=3) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(outcome, StoredFile) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, TooManyFiles) for outcome in outcomes) == 3


async def test_a_name_that_no_database_can_hold_is_refused(store: Subject) -> None:
    with pytest.raises(InvalidValue):
        await add(store, await thread(store), name="a\0b")


async def test_files_go_with_their_thread_and_do_not_come_after_it(store: Subject) -> None:
    key = await thread(store)
    file = await add(store, key)
    outcomes = await asyncio.gather(
        store.threads.delete(key.user_id, key.thread_id), *(add(store, key) for _ in range(3)), return_exceptions=True
    )
    assert outcomes[0] == key
    stored = [outcome.file_id for outcome in outcomes if isinstance(outcome, StoredFile)]
    for file_id in (file.file_id, *stored):
        with pytest.raises(UnknownFile):
            await store.files.read(key.user_id, key.thread_id, file_id)
    with pytest.raises(ThreadDeleted):
        await add(store, key)


async def test_a_message_can_refer_to_a_file_of_a_thread_that_talks(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    file = await add(store, talk.key)
    assert await store.files.missing(talk.key, [file.file_id]) == frozenset()
