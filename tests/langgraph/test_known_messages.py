"""Messages that are known are loaded and stored exactly as the official serializer loads and stores them."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from ormsgpack import Ext, packb, unpackb

from unbroken.adapters.langgraph.known_messages import KnownMessages, SplicingSerializer
from unbroken.domain.checkpoints import ROOT, BlobRow, CheckpointRow, StoredCheckpoint


class Text(str):
    """Not plain, though it looks so."""

    __slots__ = ()


OFFICIAL = JsonPlusSerializer()

TEXTS = ["", "said", "?", "\ud83d", "half \udc00", "\x00", "ü 🙂", "x" * 300]
PLAIN = [None, True, False, 0, 1, -1, 2**63, 1.0, -0.0, math.nan, math.inf, [], {}, [1, [True]], {"a": {"b": [0.5]}}]
ODD = [(1, 2), {1, 2}, b"bytes", datetime(2026, 1, 1, tzinfo=UTC), {1: "one"}, AIMessage("inside"), Text("said")]
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_token_details": {"cache_read": 1}}


class OwnMessage(HumanMessage):
    """An agent's own class; it stores more than it shows."""

    def model_dump(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().model_dump(**kwargs), "name": "added"}


def made(random: Random) -> BaseMessage:
    """A message of any kind that agents are known to leave in their state."""

    def some(*more: Any) -> Any:
        return deepcopy(random.choice([*TEXTS, *PLAIN, *more]))

    def mapping() -> dict[str, Any]:
        return {key: some() for key in random.sample(["a", "b", "ü", "content"], random.choice([0, 0, 1, 3]))}

    def text() -> str:
        return random.choice(TEXTS)

    blocks = [{"type": "text", "text": text(), **mapping()} for _ in range(random.choice([0, 1, 2]))]
    common: dict[str, Any] = {
        "content": random.choice([text(), text(), [*blocks, text()], blocks]),
        "id": random.choice([None, "1", "2", text()]),
        "name": random.choice([None, text()]),
        "additional_kwargs": mapping(),
        "response_metadata": mapping(),
    }
    calls = [{"name": text(), "args": mapping(), "id": text(), "type": "tool_call"}] * random.choice([0, 0, 1, 2])
    kinds: list[Callable[[], BaseMessage]] = [
        lambda: HumanMessage(**common),
        lambda: SystemMessage(**common),
        lambda: AIMessage(**common, tool_calls=calls, usage_metadata=random.choice([None, deepcopy(USAGE)])),
        lambda: ToolMessage(**common, tool_call_id=text(), artifact=some(*ODD)),
        lambda: FunctionMessage(**{**common, "name": text()}),
        lambda: ChatMessage(**common, role=text()),
        lambda: HumanMessage(**common, beside=some(*ODD)),
        lambda: AIMessageChunk(**common),
        lambda: OwnMessage(**common),
    ]
    return random.choice(kinds)()


Change = Callable[[list[BaseMessage]], None]


def replaced_text(history: list[BaseMessage]) -> None:
    history[0].content = "something else"


def grown_content(history: list[BaseMessage]) -> None:
    if isinstance(history[-1].content, list):
        history[-1].content.append({"type": "text", "text": "more"})


def grown_metadata(history: list[BaseMessage]) -> None:
    history[0].additional_kwargs["seen"] = True
    history[-1].response_metadata.clear()


def a_number_for_a_truth(history: list[BaseMessage]) -> None:
    for message in history:
        for key, value in message.additional_kwargs.items():
            if isinstance(value, bool):
                message.additional_kwargs[key] = int(value)


def another_order_of_keys(history: list[BaseMessage]) -> None:
    for message in history:
        if message.additional_kwargs:
            first = next(iter(message.additional_kwargs))
            message.additional_kwargs[first] = message.additional_kwargs.pop(first)


def something_beside(history: list[BaseMessage]) -> None:
    history[0].beside = "not a field"  # type: ignore[attr-defined]


def a_call_added(history: list[BaseMessage]) -> None:
    for message in history:
        if isinstance(message, AIMessage):
            message.tool_calls.append({"name": "look", "args": {}, "id": "c", "type": "tool_call"})


def what_is_not_plain(history: list[BaseMessage]) -> None:
    history[-1].additional_kwargs["at"] = datetime(2026, 1, 1, tzinfo=UTC)
    history[0].additional_kwargs["pair"] = (1, 2)


def half_a_character(history: list[BaseMessage]) -> None:
    history[0].content = "\ud83d"


changes: list[Change] = [
    lambda history: None,
    lambda history: history.reverse(),
    lambda history: history.append(HumanMessage("new")),
    lambda history: history.append(history[0]),
    lambda history: history.__delitem__(slice(0, 1)) if len(history) > 1 else None,
    lambda history: history.__setitem__(0, history[0].model_copy()),
    replaced_text,
    grown_content,
    grown_metadata,
    a_number_for_a_truth,
    another_order_of_keys,
    something_beside,
    a_call_added,
    what_is_not_plain,
    half_a_character,
]


def at_rest(known: KnownMessages, stored: tuple[str, bytes]) -> KnownMessages:
    """What the next turn finds."""
    known.keep(head_of(stored[1]))
    return known.at_rest()


def head_of(data: bytes) -> StoredCheckpoint:
    row = CheckpointRow(ROOT, "c", None, b"", b"")
    return StoredCheckpoint("thread", row, (BlobRow(ROOT, "messages", "1", "msgpack", data),), ())


def told(value: Any) -> Any:
    """All that there is to a loaded value, types included: `==` takes a truth for a number."""
    if isinstance(value, BaseMessage):
        fields_set = sorted(value.model_fields_set)
        extra, private = value.__pydantic_extra__, value.__pydantic_private__
        return type(value), told(value.__dict__), fields_set, told(extra), told(private)
    if isinstance(value, dict):
        return type(value), [(told(key), told(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [told(item) for item in value]
    return type(value), repr(value)


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 2**32))
def test_turn_after_turn_what_is_loaded_and_stored_is_the_official_serializers(seed: int) -> None:
    random = Random(seed)
    history = [made(random) for _ in range(random.randint(1, 6))]
    turns = random.choices(changes, k=random.randint(2, 6))
    theirs = ours = OFFICIAL.dumps_typed(history)
    known = KnownMessages()
    for change in turns:
        serde = SplicingSerializer(known)
        mine, expected = serde.loads_typed(ours), OFFICIAL.loads_typed(theirs)
        assert told(mine) == told(expected)
        change(mine)
        change(expected)
        theirs = OFFICIAL.dumps_typed(expected)
        ours = serde.dumps_typed(mine)
        assert ours == theirs
        known = at_rest(known, ours)


def conversation(length: int) -> list[BaseMessage]:
    return [HumanMessage(f"said {number}", id=str(number)) for number in range(length)]


def after_turns(history: list[BaseMessage], turns: int) -> tuple[KnownMessages, tuple[str, bytes]]:
    known, stored = KnownMessages(), OFFICIAL.dumps_typed(history)
    for _ in range(turns):
        serde = SplicingSerializer(known)
        stored = serde.dumps_typed(serde.loads_typed(stored))
        known = at_rest(known, stored)
    return known, stored


def test_what_one_turn_does_to_its_messages_does_not_reach_the_next() -> None:
    known, stored = after_turns([HumanMessage("said", id="1", additional_kwargs={"tags": ["a"]})], 2)
    (kept,) = SplicingSerializer(known).loads_typed(stored)
    kept.content = "changed"
    kept.additional_kwargs["tags"].append("b")
    kept.beside = "added"
    (again,) = SplicingSerializer(known).loads_typed(stored)
    assert told(again) == told(OFFICIAL.loads_typed(stored)[0])


@pytest.mark.parametrize("length", [15, 16, 300])
def test_lists_of_any_length_begin_as_the_official_ones(length: int) -> None:
    history = [HumanMessage("x", id="1")] * length
    stored = OFFICIAL.dumps_typed(history)
    serde = SplicingSerializer(KnownMessages())
    assert len(serde.loads_typed(stored)) == length
    assert serde.known.parts(stored[1]) is not None
    assert serde.dumps_typed(history) == stored


def test_a_turn_neither_validates_nor_dumps_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known, stored = after_turns(conversation(50), 2)
    done: list[str] = []

    class Watched(HumanMessage):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            done.append("validated")
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("langchain_core.messages.human.HumanMessage", Watched)
    monkeypatch.setattr(HumanMessage, "model_dump", lambda self: done.append("dumped"))
    serde = SplicingSerializer(known)
    assert serde.dumps_typed(serde.loads_typed(stored)) == stored
    assert done == []


def test_what_was_dumped_once_is_not_dumped_at_the_next_superstep(monkeypatch: pytest.MonkeyPatch) -> None:
    serde = SplicingSerializer(KnownMessages())
    history = serde.loads_typed(OFFICIAL.dumps_typed(conversation(50)))
    stored = serde.dumps_typed(history)
    done: list[str] = []
    monkeypatch.setattr(HumanMessage, "model_dump", lambda self: done.append("dumped"))
    assert serde.dumps_typed(history) == stored
    assert done == []


@pytest.mark.parametrize("gone", [1, 49])
def test_what_moved_within_its_list_is_known_all_the_same(gone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known, stored = after_turns(conversation(50), 2)
    serde = SplicingSerializer(known)
    history = serde.loads_typed(stored)[gone:]
    expected = OFFICIAL.dumps_typed(history)
    done: list[str] = []
    monkeypatch.setattr(HumanMessage, "model_dump", lambda self: done.append("dumped"))
    assert serde.dumps_typed(history) == expected
    assert done == []


def test_a_short_list_that_was_read_last_hides_nothing_of_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    known, stored = after_turns(conversation(50), 2)
    serde = SplicingSerializer(known)
    history = serde.loads_typed(stored)
    serde.loads_typed(OFFICIAL.dumps_typed([HumanMessage("elsewhere", id="other")]))
    done: list[str] = []
    monkeypatch.setattr(HumanMessage, "model_dump", lambda self: done.append("dumped"))
    assert serde.dumps_typed(history) == stored
    assert done == []


Stored = tuple[str, str, dict[str, Any], str]
"""A message as it is stored: module and name of its class, fields, and how to load it."""


def without_name(part: Stored) -> Stored:
    """As an older version of LangChain, say, may have stored it: it is loaded with a field more."""
    module, kind, fields, method = part
    return module, kind, {key: value for key, value in fields.items() if key != "name"}, method


def under_another_name(part: Stored) -> Stored:
    """Where the class can be imported from, too."""
    return ("langchain_core.messages", *part[1:])


@pytest.mark.parametrize("change", [without_name, under_another_name])
def test_a_message_is_trusted_only_when_it_would_be_stored_as_it_was(change: Callable[[Stored], Stored]) -> None:
    def hook(code: int, data: bytes) -> Ext:
        part = unpackb(data)
        return Ext(code, packb(change(part) if part[2]["id"] == "other" else part))

    whole = OFFICIAL.dumps_typed([HumanMessage("said", id="1"), HumanMessage("said", id="other")])
    other = ("msgpack", packb(unpackb(whole[1], ext_hook=hook)))
    for stored in (other, whole):
        known = KnownMessages()
        for _ in range(3):
            serde = SplicingSerializer(known)
            assert told(serde.loads_typed(stored)) == told(OFFICIAL.loads_typed(stored))
            assert serde.dumps_typed(serde.loads_typed(stored)) == OFFICIAL.dumps_typed(OFFICIAL.loads_typed(stored))
            known = at_rest(known, stored)


def test_other_lists_are_left_to_the_official_serializer() -> None:
    for value in (
        [],
        [1, "two"],
        [{"type": "reset"}],
        [b"x"],
        [datetime(2026, 1, 1, tzinfo=UTC)],
        ["x", AIMessage("y")],
    ):
        serde = SplicingSerializer(KnownMessages())
        stored = serde.dumps_typed(deepcopy(value))
        assert stored == OFFICIAL.dumps_typed(value)
        assert told(serde.loads_typed(stored)) == told(OFFICIAL.loads_typed(stored))
        assert serde.known.size == 0


def test_memory_is_what_it_says() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        known, stored = after_turns([HumanMessage(f"{number} " * 20, id=str(number)) for number in range(400)], 3)
        taken = tracemalloc.get_traced_memory()[0] - before - len(stored[1])
    finally:
        tracemalloc.stop()
    assert 0.7 * known.size < taken < 1.05 * known.size
