"""Items: agents' long-term memory, found by name, by what they hold, and by nearness."""

from __future__ import annotations

import asyncio
import math

import msgspec
import pytest

from tests.contracts.subjects import Subject
from unbroken.domain.errors import InvalidValue
from unbroken.domain.items import (
    MAX_TTL_S,
    Comparison,
    Condition,
    Found,
    Item,
    ItemName,
    ItemPut,
    ItemSearch,
    NamespaceSearch,
    Vector,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANN = ("users", "ann")


def name(key: str, *namespace: str) -> ItemName:
    return ItemName(namespace or ANN, key)


def put(key: str, value: object = None, *namespace: str, ttl_s: float | None = None, **vectors: Vector) -> ItemPut:
    encoded = msgspec.json.encode({"v": key} if value is None else value)
    return ItemPut(name(key, *namespace), encoded, ttl_s, vectors)


def value_of(item: Item | None) -> object:
    assert item is not None
    return msgspec.json.decode(item.value)


def keys(found: list[Found] | object) -> list[str]:
    assert isinstance(found, list)
    return [one.item.name.key for one in found]


async def search(store: Subject, **options: object) -> list[Found]:
    asked: dict[str, object] = {"under": ANN, **options}
    return [*await store.items.search(msgspec.convert(asked, ItemSearch))]


async def test_items_are_read_as_they_were_written_each_in_its_place(store: Subject) -> None:
    value = {"text": 'ünï "quoted" 🦜', "list": [1, 2.5, None, {"a": True}], "": ""}
    await store.items.write([put("a", value), put("a", {"other": 1}, "users", "bob"), put("b.c/d")])
    found = await store.items.read([name("b.c/d"), name("none"), name("a"), name("a", "users", "bob"), name("a")])
    assert [item and item.name.key for item in found] == ["b.c/d", None, "a", "a", "a"]
    assert value_of(found[2]) == value
    assert value_of(found[3]) == {"other": 1}
    assert await store.items.read([]) == []


async def test_writing_again_replaces_the_value_and_keeps_when_it_came_to_be(store: Subject) -> None:
    await store.items.write([put("a", {"n": 1})])
    (first,) = await store.items.read([name("a")])
    await asyncio.sleep(0.01)
    await store.items.write([put("a", {"n": 2}), put("b")])
    (second,) = await store.items.read([name("a")])
    assert first is not None
    assert second is not None
    assert value_of(second) == {"n": 2}
    assert second.created_at == first.created_at < second.updated_at
    await store.items.write([put("c")], remove=[name("a"), name("none")])
    assert [item is None for item in await store.items.read([name("a"), name("b"), name("c")])] == [True, False, False]


@pytest.mark.parametrize("bad", [name("bad\0key"), name("key", "users", "bad\0label"), name("half \ud800")])
async def test_a_name_that_nothing_can_have_is_refused_whatever_is_asked_of_it(store: Subject, bad: ItemName) -> None:
    await store.items.write([put("good")])
    with pytest.raises(InvalidValue, match="key"):
        await store.items.read([name("good"), bad])
    with pytest.raises(InvalidValue, match="key"):
        await store.items.write([], remove=[name("good"), bad])
    assert await store.items.read([name("good")]) != [None]


async def test_a_time_to_live_has_bounds(store: Subject) -> None:
    for ttl_s in (math.inf, -math.inf, math.nan, 1e308, -1e308, MAX_TTL_S * 1.001, MAX_TTL_S * -1.001):
        with pytest.raises(InvalidValue, match="ttl: must be at most 525600000 minutes"):
            await store.items.write([put("good"), put("long", ttl_s=ttl_s)])
    assert await store.items.read([name("good"), name("long")]) == [None, None]
    await store.items.write([put("long", ttl_s=MAX_TTL_S), put("over", ttl_s=-MAX_TTL_S), put("tiny", ttl_s=5e-324)])
    assert await store.items.read([name("long")], refresh=[name("long")]) != [None]
    assert keys(await search(store)) == ["long"]


async def test_one_bad_key_leaves_nothing_of_a_write(store: Subject) -> None:
    with pytest.raises(InvalidValue):
        await store.items.write([put("good"), put("bad\0key")])
    assert await store.items.read([name("good")]) == [None]


async def test_a_search_is_of_a_namespace_and_what_is_within_it(store: Subject) -> None:
    for namespace in (("users",), ANN, (*ANN, "notes"), ("users", "anna"), ("users", "ann-b"), ("u",)):
        await store.items.write([put("k", {"in": ".".join(namespace)}, *namespace)])
        await asyncio.sleep(0.002)
    assert [one.item.name.namespace for one in await search(store)] == [(*ANN, "notes"), ANN]
    assert len(await search(store, under=["users"])) == 5
    assert len(await search(store, under=[])) == 6
    assert [one.score for one in await search(store)] == [None, None]


async def test_the_latest_changed_come_first_in_pages(store: Subject) -> None:
    for key in "abcde":
        await store.items.write([put(key)])
        await asyncio.sleep(0.002)
    await store.items.write([put("b")])
    assert keys(await search(store, limit=3)) == ["b", "e", "d"]
    assert keys(await search(store, limit=3, offset=3)) == ["c", "a"]
    await store.items.write([put("z", None, "ties"), put("y", None, "ties"), put("x", None, "ties", "in")])
    assert keys(await search(store, under=["ties"])) == ["y", "z", "x"], "by namespace, then key"


@pytest.mark.parametrize(
    ("comparison", "wanted", "expected"),
    [
        ("eq", 2, {"two", "two-f"}),
        ("eq", True, {"true"}),
        ("eq", "2", {"text"}),
        ("eq", None, {"null"}),
        ("eq", {"a": [1, {"b": 2}]}, {"object"}),
        ("ne", 2, {"ten", "text", "long", "true", "null", "object"}),
        ("gt", 2, {"ten"}),
        ("gte", 2, {"two", "two-f", "ten"}),
        ("lt", 10, {"two", "two-f"}),
        ("lte", 10.0, {"two", "two-f", "ten"}),
        ("gt", "2", {"long"}),
        ("lt", "3", {"text"}),
        ("gt", None, set()),
        ("lt", True, set()),
    ],
)
async def test_conditions_compare_numbers_with_numbers_and_texts_with_texts(
    store: Subject, comparison: Comparison, wanted: object, expected: set[str]
) -> None:
    values = {
        "two": 2,
        "two-f": 2.0,
        "ten": 10,
        "text": "2",
        "long": "ö",
        "true": True,
        "null": None,
        "object": {"a": [1.0, {"b": 2}]},
    }
    await store.items.write([*(put(key, {"v": value}) for key, value in values.items()), put("absent", {"w": 2})])
    condition = Condition("v", comparison, msgspec.json.encode(wanted))
    found = await store.items.search(ItemSearch(ANN, [condition], limit=20))
    assert {one.item.name.key for one in found} == expected


async def test_every_condition_must_hold(store: Subject) -> None:
    await store.items.write([put("a", {"n": 1, "t": "x"}), put("b", {"n": 2, "t": "x"}), put("c", {"n": 2, "t": "y"})])
    conditions = [Condition("n", "gt", b"1"), Condition("t", "eq", b'"x"')]
    assert keys([*await store.items.search(ItemSearch(ANN, conditions))]) == ["b"]


async def test_the_nearest_come_first_whatever_their_length(store: Subject) -> None:
    await store.items.write(
        [
            put("east", text=(9.0, 0.0)),
            put("north", text=(0.0, 0.5)),
            put("both", first=(1.0, 0.0), second=(3.0, 3.0)),
            put("west", text=(-1.0, 0.0)),
            put("three", text=(1.0, 0.0, 0.0)),
            put("zero", text=(0.0, 0.0)),
            put("none"),
        ]
    )
    found = await search(store, near=[2.0, 2.0])
    assert keys(found)[:3] == ["both", "east", "north"]
    assert [one.score for one in found] == pytest.approx([1.0, 0.7071, 0.7071, 0.0, -0.7071], abs=1e-3)
    assert keys(found)[3:] == ["zero", "west"], "what has no vector of this length is not found"
    assert keys(await search(store, near=[0.0, 1.0], limit=1, offset=1)) == ["both"]
    condition = Condition("v", "eq", b'"west"')
    assert keys([*await store.items.search(ItemSearch(ANN, [condition], near=(1.0, 0.0)))]) == ["west"]


async def test_vectors_of_an_earlier_value_are_forgotten(store: Subject) -> None:
    await store.items.write([put("a", first=(1.0, 0.0), second=(0.0, 1.0)), put("b", first=(1.0, 0.0))])
    await store.items.write([put("a", second=(-1.0, 0.0))])
    found = await search(store, near=[1.0, 0.0])
    assert [(one.item.name.key, one.score) for one in found] == [("b", 1.0), ("a", -1.0)]
    await store.items.write([put("a")], remove=[name("b")])
    assert await search(store, near=[1.0, 0.0]) == []


async def test_namespaces_are_listed_by_their_ends_and_to_a_depth(store: Subject) -> None:
    for namespace in (("a", "b", "c"), ("a", "b", "d", "e"), ("a", "x", "c"), ("a", "b", "c"), ("b", "c"), ("ab",)):
        await store.items.write([put("k", None, *namespace), put("l", None, *namespace)])

    async def listed(**options: object) -> list[str]:
        found = await store.items.namespaces(msgspec.convert(options, NamespaceSearch))
        return [".".join(namespace) for namespace in found]

    assert await listed() == ["a.b.c", "a.b.d.e", "a.x.c", "ab", "b.c"]
    assert await listed(begins=[["a"]]) == ["a.b.c", "a.b.d.e", "a.x.c"]
    assert await listed(begins=[["*", "b"]]) == ["a.b.c", "a.b.d.e"]
    assert await listed(ends=[["c"]]) == ["a.b.c", "a.x.c", "b.c"]
    assert await listed(ends=[["*", "c"]], begins=[["a"]]) == ["a.b.c", "a.x.c"]
    assert await listed(ends=[["a", "*", "*", "*", "*"]]) == []
    assert await listed(depth=2) == ["a.b", "a.x", "ab", "b.c"]
    assert await listed(depth=1, limit=1, offset=1) == ["ab"]


async def test_what_has_expired_is_not_there_and_is_swept(store: Subject) -> None:
    await store.items.write([put("gone", ttl_s=0.0, text=(1.0,)), put("gone2", ttl_s=0.0), put("stays", ttl_s=600.0)])
    await store.items.write([put("for-ever")])
    assert [item is None for item in await store.items.read([name("gone"), name("stays")])] == [True, False]
    assert set(keys(await search(store))) == {"stays", "for-ever"}
    assert await search(store, near=[1.0]) == []
    assert await store.items.namespaces(NamespaceSearch()) == [ANN]
    assert [await store.items.sweep(1) for _ in range(3)] == [1, 1, 0]
    assert set(keys(await search(store))) == {"stays", "for-ever"}


async def test_an_expired_item_begins_anew_and_one_that_is_refreshed_stays(store: Subject) -> None:
    await store.items.write([put("a", ttl_s=0.0), put("b", ttl_s=0.4), put("c", ttl_s=0.4)])
    await store.items.write([put("a")])
    (item,) = await store.items.read([name("a")])
    assert item is not None
    assert item.created_at == item.updated_at
    await store.items.read([name("b"), name("c")], refresh=[name("b")])
    async with asyncio.timeout(20):
        while (await store.items.read([name("c")]))[0] is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_racing_writers_of_the_same_items_meet_without_deadlock(store: Subject) -> None:
    names = [f"{number:03}" for number in range(150)]

    async def write(number: int) -> None:
        order = names if number % 2 else names[::-1]
        await store.items.write([put(key, {"n": number}, text=(1.0, float(number))) for key in order])

    for _ in range(3):
        await asyncio.gather(*map(write, range(10)))
    values = [value_of(item) for item in await store.items.read([name(key) for key in names])]
    assert all(value == values[0] for value in values), "each write is one transaction"
    assert len(await search(store, near=[1.0, 0.0], limit=200)) == len(names)


async def test_racing_writers_that_put_and_remove_are_none_of_them_refused(store: Subject) -> None:
    async def write(number: int) -> None:
        kept, gone = ("a", "z") if number % 2 else ("z", "a")
        await store.items.write([put(kept, {"n": number}, text=(1.0, 0.0))], remove=[name(gone)])

    await asyncio.gather(*map(write, range(12)))
    assert len(await search(store)) == len(await search(store, near=[1.0, 0.0])) >= 1
    await write(12)
    assert keys(await search(store)) == ["z"]
