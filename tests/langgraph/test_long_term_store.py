"""The long-term store of nodes: it answers as LangGraph's own does, from every kind of node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, IndexConfig, InvalidNamespaceError, PutOp
from langgraph.store.memory import InMemoryStore

from tests.langgraph.driving import Chat
from unbroken.adapters.in_process.clock import SystemClock
from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.graph_source import FixedGraph
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.long_term_store import LongTermStore, index_of, ttl_of
from unbroken.adapters.langgraph.project import parse_project
from unbroken.adapters.memory.store import MemoryStore
from unbroken.domain.errors import InvalidValue

pytestmark = pytest.mark.asyncio

MEMORIES = ("memories", "ann")
ANIMALS = ("cat", "dog", "tree")


def embed(texts: Sequence[str]) -> list[list[float]]:
    """How often each animal is named."""
    return [[float(text.count(animal)) for animal in ANIMALS] for text in texts]


def project_with(folder: Path, **store: Any) -> LongTermStore:
    content = json.dumps({"graphs": {"a": "a:b"}, "store": store}).encode()
    project = parse_project(content, folder / "langgraph.json")
    return LongTermStore(MemoryStore(SystemClock()).items, index_of(project), ttl_of(project))


async def told(store: BaseStore) -> list[Any]:
    """What a store answers to the same questions."""
    await store.aput(MEMORIES, "likes", {"text": "a cat", "n": 1})
    await store.aput(MEMORIES, "has", {"text": "a dog and a dog", "n": 2, "tags": ["x"]})
    await store.aput((*MEMORIES, "old"), "had", {"text": "a tree", "n": 3})
    await store.aput(("memories", "bob"), "likes", {"text": "a tree", "n": 4})
    await store.aput(MEMORIES, "gone", {"text": "nothing", "n": 5}, index=False)
    await store.adelete(MEMORIES, "gone")
    item = await store.aget(MEMORIES, "likes")
    assert item is not None
    searches: list[dict[str, Any]] = [
        {"query": "cat", "limit": 1},
        {"query": "dog"},
        {"filter": {"n": 2}},
        {"filter": {"n": {"$gte": 2}}},
        {"filter": {"n": {"$ne": 1}, "text": "a tree"}},
    ]
    found = [await store.asearch(MEMORIES, **search) for search in searches]
    return [
        (item.namespace, item.key, item.value),
        await store.aget(MEMORIES, "gone"),
        [[(one.namespace, one.key, one.value) for one in page] for page in found[:2]],
        [{(one.namespace, one.key) for one in page} for page in found[2:]],
        await store.alist_namespaces(prefix=("memories",)),
        await store.alist_namespaces(suffix=("*", "old")),
        await store.alist_namespaces(max_depth=2, limit=1, offset=1),
    ]


async def test_it_answers_as_the_official_one_in_memory(tmp_path: Path) -> None:
    (tmp_path / "embedding.py").write_text("from tests.langgraph.test_long_term_store import embed\n")
    index = {"dims": 3, "embed": "./embedding.py:embed", "fields": ["text"]}
    ours, official = (
        project_with(tmp_path, index=index),
        InMemoryStore(index=IndexConfig(dims=3, embed=embed, fields=["text"])),
    )
    assert await told(ours) == await told(official)
    (nearest,) = await ours.asearch(MEMORIES, query="dog", limit=1)
    (theirs,) = await official.asearch(MEMORIES, query="dog", limit=1)
    assert nearest.score == pytest.approx(theirs.score)


async def test_a_batch_reads_before_it_writes_and_the_last_of_a_name_counts() -> None:
    store = LongTermStore(MemoryStore(SystemClock()).items)
    await store.aput(MEMORIES, "a", {"n": 1})
    await store.abatch([PutOp(MEMORIES, "a", {"n": 2}), PutOp(MEMORIES, "b", {"n": 1}), PutOp(MEMORIES, "a", {"n": 3})])
    item = await store.aget(MEMORIES, "a")
    assert item is not None
    assert item.value == {"n": 3}
    with pytest.raises(InvalidNamespaceError):
        await store.abatch([PutOp(("a.b",), "a", {"n": 2})])
    with pytest.raises(ValueError, match=r"unsupported operator: \$in"):
        await store.asearch(MEMORIES, filter={"n": {"$in": [1]}})


async def test_time_to_live_is_the_projects_unless_an_item_has_its_own(tmp_path: Path) -> None:
    store = project_with(tmp_path, ttl={"default_ttl": 1e-9, "refresh_on_read": False})
    await store.aput(MEMORIES, "a", {"n": 1})
    await store.aput(MEMORIES, "b", {"n": 1}, ttl=5)
    await store.aput(MEMORIES, "c", {"n": 1}, ttl=None)
    assert {one.key for one in await store.asearch(MEMORIES)} == {"b", "c"}


async def test_vectors_of_another_length_are_told(tmp_path: Path) -> None:
    (tmp_path / "embedding.py").write_text("from tests.langgraph.test_long_term_store import embed\n")
    store = project_with(tmp_path, index={"dims": 2, "embed": "./embedding.py:embed"})
    with pytest.raises(ValueError, match=r"the embedding has 3 numbers, and store.index.dims is 2"):
        await store.aput(MEMORIES, "a", {"text": "cat"})
    assert await store.aget(MEMORIES, "a") is None


@pytest.mark.parametrize(
    ("embed", "said"),
    [
        ("./none.py:embed", r"^langgraph.json: store.index.embed: the file ./none.py does not exist$"),
        (
            "nobody:model",
            r"^langgraph.json: store.index.embed: nobody:model cannot be used: ValueError: Provider 'nobody' is not ",
        ),
    ],
)
async def test_embeddings_that_cannot_be_had_are_told_in_one_line(tmp_path: Path, embed: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said) as raised:
        project_with(tmp_path, index={"dims": 2, "embed": embed})
    assert "\n" not in str(raised.value)


async def by_runtime(state: MessagesState, runtime: Runtime[None]) -> dict[str, Any]:
    assert runtime.store is not None
    await runtime.store.aput(MEMORIES, "told", {"text": str(state["messages"][-1].content)})
    return {"messages": [AIMessage("noted")]}


def by_function(state: MessagesState) -> dict[str, Any]:
    """Synchronous: it runs on another thread."""
    item = get_store().get(MEMORIES, "told")
    return {"messages": [AIMessage(item.value["text"] if item else "nothing")]}


async def wrongly(state: MessagesState) -> dict[str, Any]:
    get_store().get(MEMORIES, "told")
    return {}


def remembering(graph: Graph, store: BaseStore, kept: MemoryStore) -> Chat:
    chat = Chat(graph, store=kept)
    chat.agent = LangGraphAgent(FixedGraph(graph).with_store(store), kept.checkpoints)
    return chat


def graph_of(node: Any, **options: Any) -> Graph:
    return StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile(**options)


async def test_every_kind_of_node_finds_it_in_any_thread() -> None:
    kept = MemoryStore(SystemClock())
    store = LongTermStore(kept.items)
    assert (await remembering(graph_of(by_runtime), store, kept).say("I like cats")).text == "noted"
    assert (await remembering(graph_of(by_function), store, kept).say("what?")).text == "I like cats"


async def test_a_synchronous_call_on_the_loop_is_told_instead_of_hanging() -> None:
    kept = MemoryStore(SystemClock())
    with pytest.raises(Exception, match="await aget, aput or asearch"):
        await remembering(graph_of(wrongly), LongTermStore(kept.items), kept).say("hi")


async def test_a_graph_that_brings_a_lasting_store_keeps_it_and_one_in_memory_does_not() -> None:
    kept = MemoryStore(SystemClock())
    ours, theirs = LongTermStore(kept.items), LongTermStore(MemoryStore(SystemClock()).items)
    await theirs.aput(MEMORIES, "told", {"text": "theirs"})
    await ours.aput(MEMORIES, "told", {"text": "ours"})
    for brought, answer in ((theirs, "theirs"), (InMemoryStore(), "ours"), (None, "ours")):
        assert (await remembering(graph_of(by_function, store=brought), ours, kept).say("?")).text == answer
