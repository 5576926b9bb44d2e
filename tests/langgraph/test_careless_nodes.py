"""A node may do to its messages what it likes: what is stored is what the official serializer stores, turn by turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import MessagesState

from tests.langgraph.driving import Chat
from tests.langgraph.scripted import chain
from unbroken.adapters.langgraph import turn_run
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.known_messages import KnownMessages
from unbroken.domain.policy import CommitMode

pytestmark = pytest.mark.asyncio

Deed = Callable[[list[Any]], None]


def rewrites(history: list[Any]) -> None:
    history[0].content = f"rewritten at {len(history)}"


def notes(history: list[Any]) -> None:
    history[0].additional_kwargs.setdefault("notes", []).append(len(history))


def blocks(history: list[Any]) -> None:
    if isinstance(history[0].content, str):
        history[0].content = [{"type": "text", "text": history[0].content}]
    history[0].content.append({"type": "text", "text": "and more"})


def marks(history: list[Any]) -> None:
    history[-1].seen = True


def turns_round(history: list[Any]) -> None:
    history.reverse()


def drops(history: list[Any]) -> None:
    del history[:-3]


def keeps() -> Deed:
    """Changes in each turn what it was given in those before."""
    kept: list[BaseMessage] = []

    def deed(history: list[Any]) -> None:
        for message in kept:
            message.content = "stolen"
            message.additional_kwargs["stolen"] = True
        kept.extend(history)

    return deed


def careless(deed: Deed) -> Graph:
    def node(name: str) -> Any:
        async def run(state: MessagesState) -> dict[str, Any]:
            number = len(state["messages"])
            deed(state["messages"])
            return {"messages": [AIMessage(f"{name} {number}", id=f"{name}-{number}-{state['messages'][-1].id}")]}

        return run

    return chain(("work", node("work")), ("report", node("report")))


async def stored(chat: Chat) -> list[bytes | None]:
    """After each of six turns, what the head holds of the messages."""
    found = []
    for number in range(6):
        await chat.say(f"message {number}", f"event-{number}")
        head = await chat.store.checkpoints.load(chat.key.thread_id, "", None)
        assert head is not None
        found += [blob.blob for blob in head.blobs if blob.channel == "messages"]
    return found


def official(known: KnownMessages) -> JsonPlusSerializer:
    return JsonPlusSerializer()


@pytest.mark.parametrize("mode", list(CommitMode))
@pytest.mark.parametrize(
    "deed", [rewrites, notes, blocks, marks, turns_round, drops, keeps], ids=lambda deed: deed.__name__
)
async def test_a_careless_node_leaves_what_it_would_leave_with_the_official_serializer(
    deed: Any, mode: CommitMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds = [deed() if deed is keeps else deed for _ in range(2)]
    ours = await stored(Chat(careless(deeds[0]), commit=mode))
    monkeypatch.setattr(turn_run, "SplicingSerializer", official)
    assert ours == await stored(Chat(careless(deeds[1]), commit=mode))
    assert len(ours) == 6
