"""Assistants that users create: presets in versions, each user's own."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import unique
from tests.contracts.subjects import Subject
from unbroken.domain import catalogue
from unbroken.domain.catalogue import Preset
from unbroken.domain.errors import InvalidValue, TooMany, UnknownAssistant

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIRST = Preset("agent", "First", "of several", {"tags": ["a"]}, {"model": "small"}, {"team": 7})


async def test_an_assistant_is_what_was_created(store: Subject) -> None:
    user, id_ = unique("user"), unique("assistant")
    assert await store.assistants.create(user, id_, FIRST)
    assert not await store.assistants.create(user, id_, Preset("other", "Second"))
    found = await store.assistants.get(user, id_)
    assert (found.assistant_id, found.version, found.preset) == (id_, 1, FIRST)
    assert found.created_at == found.updated_at
    assert await store.assistants.list(user) == [found]


async def test_versions_follow_each_other_and_any_may_count(store: Subject) -> None:
    user, id_ = unique("user"), unique("assistant")
    await store.assistants.create(user, id_, FIRST)
    second = await store.assistants.add_version(user, id_, Preset("agent", "Second"))
    assert (second.version, second.preset.name) == (2, "Second")
    first = await store.assistants.set_latest(user, id_, 1)
    assert (first.version, first.preset) == (1, FIRST)
    third = await store.assistants.add_version(user, id_, Preset("agent", "Third"))
    assert third.version == 3
    assert [found.preset.name for found in await store.assistants.versions(user, id_)] == ["Third", "Second", "First"]
    for version in (0, 4, -1):
        with pytest.raises(UnknownAssistant):
            await store.assistants.set_latest(user, id_, version)
    assert (await store.assistants.get(user, id_)).version == 3


async def test_racing_versions_each_get_a_number(store: Subject) -> None:
    user, id_ = unique("user"), unique("assistant")
    await store.assistants.create(user, id_, FIRST)
    await asyncio.gather(*(store.assistants.add_version(user, id_, Preset("agent", str(n))) for n in range(8)))
    assert [found.version for found in await store.assistants.versions(user, id_)] == list(range(9, 0, -1))
    assert (await store.assistants.get(user, id_)).version == 9


async def test_of_racing_twins_one_creates(store: Subject) -> None:
    user, id_ = unique("user"), unique("assistant")
    made = await asyncio.gather(*(store.assistants.create(user, id_, Preset("agent", str(n))) for n in range(8)))
    assert sorted(made) == [False] * 7 + [True]


async def test_an_id_means_to_each_user_what_that_user_made_of_it(store: Subject) -> None:
    a, b, id_ = unique("a"), unique("b"), unique("assistant")
    await store.assistants.create(a, id_, FIRST)
    for call in (
        store.assistants.get(b, id_),
        store.assistants.versions(b, id_),
        store.assistants.add_version(b, id_, FIRST),
        store.assistants.set_latest(b, id_, 1),
        store.assistants.delete(b, id_),
    ):
        with pytest.raises(UnknownAssistant):
            await call
    assert await store.assistants.create(b, id_, Preset("agent", "B's"))
    await store.assistants.delete(b, id_)
    assert (await store.assistants.get(a, id_)).preset == FIRST
    assert await store.assistants.list(b) == []


async def test_a_deleted_assistant_leaves_no_version(store: Subject) -> None:
    user, id_ = unique("user"), unique("assistant")
    await store.assistants.create(user, id_, FIRST)
    await store.assistants.add_version(user, id_, FIRST)
    await store.assistants.delete(user, id_)
    with pytest.raises(UnknownAssistant):
        await store.assistants.get(user, id_)
    assert await store.assistants.create(user, id_, FIRST)
    assert [found.version for found in await store.assistants.versions(user, id_)] == [1]


async def test_a_user_has_no_more_than_the_limit(store: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(store.assistants).__module__
    monkeypatch.setattr(f"{module}.MAX_ASSISTANTS", 2)
    monkeypatch.setattr(f"{module}.MAX_VERSIONS", 2)
    assert catalogue.MAX_ASSISTANTS > 2
    user, ids = unique("user"), [unique("assistant") for _ in range(3)]
    for id_ in ids[:2]:
        await store.assistants.create(user, id_, FIRST)
    with pytest.raises(TooMany):
        await store.assistants.create(user, ids[2], FIRST)
    assert not await store.assistants.create(user, ids[0], FIRST)
    await store.assistants.add_version(user, ids[0], FIRST)
    with pytest.raises(TooMany):
        await store.assistants.add_version(user, ids[0], FIRST)


async def test_what_json_cannot_hold_is_refused(store: Subject) -> None:
    for preset in (Preset("agent", "\x00"), Preset("agent", "x", metadata={"a": "\x00"})):
        with pytest.raises(InvalidValue):
            await store.assistants.create(unique("user"), unique("assistant"), preset)


async def test_assistants_are_exported_and_erased_with_their_user(store: Subject) -> None:
    user, id_ = unique("user"), unique("assistant")
    await store.assistants.create(user, id_, FIRST)
    (told,) = [record async for record in store.user_data.export(user)]
    assert (told["record"], told["assistantId"], told["version"], told["counts"]) == ("assistant", id_, 1, True)
    assert (told["graphId"], told["name"], told["config"]) == ("agent", "First", {"tags": ["a"]})
    await store.user_data.erase(user)
    assert await store.assistants.list(user) == []
