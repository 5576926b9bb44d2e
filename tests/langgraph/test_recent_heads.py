"""A head from memory is the head the store would have given, or it is not used."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import msgspec
import pytest
from langchain_core.messages import HumanMessage

from tests.langgraph.driving import Chat, Store, reply
from tests.langgraph.shapes import SHAPES
from unbroken.adapters.langgraph.known_messages import KnownMessages, Part
from unbroken.adapters.langgraph.recent_heads import RecentHeads
from unbroken.domain.checkpoints import ROOT, BlobRow, CheckpointRow, StoredCheckpoint
from unbroken.domain.errors import Fenced
from unbroken.domain.events import Event, UserMessage
from unbroken.domain.policy import CommitMode
from unbroken.domain.ports.checkpoints import Checkpoints
from unbroken.domain.session import Claim, SessionKey

pytestmark = pytest.mark.asyncio


def loads_of(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The ids of the root checkpoints that are read from the store from here on."""
    seen: list[str | None] = []
    load = checkpoints.load

    async def watched(thread_id: str, checkpoint_ns: str, checkpoint_id: str | None) -> StoredCheckpoint | None:
        if checkpoint_ns == ROOT:
            seen.append(checkpoint_id)
        return await load(thread_id, checkpoint_ns, checkpoint_id)

    monkeypatch.setattr(checkpoints, "load", watched)
    return seen


@pytest.mark.parametrize("mode", list(CommitMode))
@pytest.mark.parametrize("shape", SHAPES)
async def test_what_is_remembered_is_what_the_store_holds(shape: str, mode: CommitMode, store: Store) -> None:
    chat = Chat(SHAPES[shape](), store=store, commit=mode)
    remembered = 0
    for text in ("hello", "are you sure?", "and now", "good bye"):
        claim = await chat.accept(text)
        answer = await chat.run(claim)
        for question in answer.questions:
            claim = await chat.accept(reply(question.interrupt_id, "yes"))
            await chat.run(claim)
        stored = await store.checkpoints.load(chat.key.thread_id, ROOT, None)
        assert stored is not None
        held = chat.agent._heads._heads.get(chat.key.thread_id)
        if held is None:
            continue
        remembered += 1
        epoch, head, *_ = held
        assert epoch == claim.epoch
        assert (head.thread_id, head.writes) == (stored.thread_id, stored.writes)
        assert plain(head.row) == plain(stored.row)
        assert readable(head) == readable(stored)
    assert remembered >= (0 if shape == "delta" else 4)


def plain(row: CheckpointRow) -> tuple[object, ...]:
    """jsonb keeps no order of keys."""
    checkpoint, metadata = msgspec.json.decode(row.checkpoint), msgspec.json.decode(row.metadata)
    return (row.checkpoint_ns, row.checkpoint_id, row.parent_id, checkpoint, metadata)


def readable(stored: StoredCheckpoint) -> set[BlobRow]:
    return {blob for blob in stored.blobs if blob.blob is not None}


async def test_a_second_turn_reads_no_head_from_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Chat(SHAPES["one_node"](), store=store)
    await chat.say("hello")
    seen = loads_of(store.checkpoints, monkeypatch)
    await chat.say("again")
    assert seen == []


async def test_after_another_epoch_the_head_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Chat(SHAPES["one_node"](), store=store)
    await chat.say("hello")
    await chat.accept("again")
    claim = await chat.reclaim()
    seen = loads_of(store.checkpoints, monkeypatch)
    await chat.run(claim)
    assert seen == [claim.head]


async def test_a_failed_attempt_forgets_the_head(store: Store) -> None:
    chat = Chat(SHAPES["one_node"](), store=store)
    await chat.say("hello")
    claim = await chat.accept("again")
    assert chat.agent._heads.get(claim) is not None
    attempt = chat.attempt(claim)
    attempt.gate.close("the lease was lost")
    with pytest.raises(Fenced):
        await chat.agent.run(attempt)
    assert chat.agent._heads.get(claim) is None


async def test_the_least_recently_used_heads_make_room() -> None:
    heads = RecentHeads(max_bytes=25_000)
    claims = [claim_of(f"thread-{number}") for number in range(3)]
    for claim in claims:
        heads.put(claim, head_of(claim, 10_000), KnownMessages())
    assert [heads.get(claim) is not None for claim in claims] == [False, True, True]
    heads.put(claims[0], head_of(claims[0], 100_000), KnownMessages())
    assert not any(heads.get(claim) for claim in claims)


@pytest.mark.parametrize("length", [0, 1])
async def test_short_conversations_take_no_more_memory_than_is_allowed(length: int) -> None:
    allowed = 1_000_000
    heads = RecentHeads(max_bytes=allowed)
    tracemalloc.start()
    try:
        for number in range(2_000):
            claim = claim_of(f"thread-{number}")
            head = msgspec.msgpack.decode(msgspec.msgpack.encode(head_of(claim, 200)), type=StoredCheckpoint)
            heads.put(claim, head, known_of(head, length))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 * allowed < taken < 1.1 * allowed
    assert len(heads._heads) < 1_000


def known_of(head: StoredCheckpoint, length: int) -> KnownMessages:
    """A list of so many messages, each of which was loaded; none if there are none."""
    known = KnownMessages()
    stored = head.blobs[0].blob or b""
    size = len(stored) // max(length, 1) // 2
    parts = [Part(bytes(size), bytes(size), kind=HumanMessage, loaded=True, proven=True) for _ in range(length)]
    if parts:
        known.remember(stored, parts)
    return known


async def test_what_is_known_of_a_head_counts_and_the_rest_is_forgotten(store: Store) -> None:
    chat = Chat(SHAPES["three_nodes"](), store=store)
    for text in ("hello", "again", "and again"):
        await chat.say(text)
    _, head, known, size = chat.agent._heads._heads[chat.key.thread_id]
    lists = [blob.blob for blob in head.blobs if blob.channel == "messages"]
    assert [data for data, _ in known._lists.values()] == lists
    assert size > known.size > len(lists[0] or b"")
    assert chat.agent._heads._bytes == size


def claim_of(thread_id: str) -> Claim:
    event = Event(1, "e", "r", UserMessage("hello"), datetime.now(UTC))
    return Claim(SessionKey("u", "a", thread_id), 1, 1, event, 1, 1, "c", "c", 0, 0)


def head_of(claim: Claim, size: int) -> StoredCheckpoint:
    row = CheckpointRow(ROOT, "c", None, b"", b"")
    return StoredCheckpoint(claim.key.thread_id, row, (BlobRow(ROOT, "messages", "1", "bytes", b"x" * size),), ())
