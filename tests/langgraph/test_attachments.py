"""Files in a conversation: the graph sees them whole, in each turn, and the stored state holds no byte of them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from tests.langgraph.driving import Chat
from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.memory.store import MemoryStore
from unbroken.domain.events import RunStart, UserMessage

pytestmark = pytest.mark.asyncio

PICTURE = b"\x89PNG" + bytes(range(256)) * 40
ENCODED = base64.b64encode(PICTURE).decode()


class State(MessagesState):
    kept: str


class Seeing:
    """A two-node graph that writes down what it was given."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.given: list[list[AnyMessage]] = []
        self.keeps = keeps

    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        async def look(state: State) -> dict[str, Any]:
            self.given.append(list(state["messages"]))
            kept = {"kept": state["messages"][0].content[0]["text"]} if self.keeps else {}  # type: ignore[index]
            return {"messages": [AIMessage(f"look {len(self.given)}")], **kept}

        async def again(state: State) -> dict[str, Any]:
            self.given.append(list(state["messages"]))
            return {"messages": [AIMessage("again")]}

        builder = StateGraph(State).add_node(look).add_node(again)
        return builder.add_edge(START, "look").add_edge("look", "again").compile()


async def attached(chat: Chat, data: bytes, mime_type: str, name: str = "a.bin") -> str:
    await chat.store.threads.create(chat.key)
    file = await chat.store.files.add(
        chat.key.user_id,
        chat.key.thread_id,
        file_id=f"file-{name}",
        name=name,
        mime_type=mime_type,
        data=data,
        limit=9,
    )
    return file.file_id


def seeing(seen: Seeing) -> Chat:
    chat = Chat(seen.graph())
    chat.agent = LangGraphAgent(chat.graph, chat.store.checkpoints, files=chat.store.files)
    return chat


def stored(chat: Chat) -> bytes:
    assert isinstance(chat.store, MemoryStore)
    return repr(chat.store.database.agent_states).encode()


@pytest.mark.parametrize(
    ("kind", "mime_type", "data", "block"),
    [
        ("image", "image/png", PICTURE, {"type": "image", "base64": ENCODED, "mime_type": "image/png"}),
        ("audio", "audio/mpeg", PICTURE, {"type": "audio", "base64": ENCODED, "mime_type": "audio/mpeg"}),
        (
            "file",
            "application/pdf",
            PICTURE,
            {"type": "file", "base64": ENCODED, "mime_type": "application/pdf", "filename": "a.bin"},
        ),
        ("file", "image/png", PICTURE, {"type": "image", "base64": ENCODED, "mime_type": "image/png"}),
        ("file", "text/csv", "a;ü".encode(), {"type": "text", "text": "a.bin:\n\na;ü"}),
        ("image", "application/json", b"\xff\x00", {"type": "text", "text": "a.bin:\n\n��"}),
    ],
)
async def test_a_reference_becomes_a_standard_block_in_every_turn_and_is_stored_as_itself(
    kind: str, mime_type: str, data: bytes, block: dict[str, Any]
) -> None:
    seen = Seeing()
    chat = seeing(seen)
    file_id = await attached(chat, data, mime_type)
    reference = {"type": kind, "file_id": file_id}
    said = {"type": "text", "text": "What is this?"}
    await chat.say(UserMessage([said, reference]))
    await chat.say("And now?")
    chat.agent = LangGraphAgent(chat.graph, chat.store.checkpoints, files=chat.store.files)  # another process
    await chat.say("And later?")
    assert [given[0].content for given in seen.given] == [[said, block]] * 6
    assert (await chat.messages())[0].content == [said, reference]
    assert ENCODED[:40].encode() not in stored(chat)


async def test_a_run_may_refer_to_a_file_as_a_message_may() -> None:
    seen = Seeing()
    chat = seeing(seen)
    reference = {"type": "image", "file_id": await attached(chat, PICTURE, "image/png")}
    await chat.say(RunStart({"messages": [{"role": "user", "content": [reference]}]}))
    block = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
    assert [given[0].content for given in seen.given] == [[block]] * 2
    assert (await chat.messages())[0].content == [reference]
    assert ENCODED[:40].encode() not in stored(chat)


async def test_a_crash_between_supersteps_gives_the_file_again() -> None:
    seen = Seeing()
    chat = seeing(seen)
    file_id = await attached(chat, PICTURE, "image/png")
    claim = await chat.accept(UserMessage([{"type": "image", "file_id": file_id}]))
    attempt = chat.attempt(claim)
    await chat.agent.run(attempt)  # its superstep is committed, its end is not
    assert len(attempt.supersteps) == 1
    await chat.run(await chat.reclaim())
    assert len(seen.given) == 3
    assert [given[0].content[0]["base64"] for given in seen.given] == [ENCODED] * 3  # type: ignore[index]
    assert ENCODED[:40].encode() not in stored(chat)


async def test_a_file_that_is_gone_is_said_to_be_and_its_reference_stays() -> None:
    seen = Seeing()
    chat = seeing(seen)
    reference = {"type": "image", "file_id": "lost"}
    await chat.say(UserMessage([reference]))
    assert seen.given[0][0].content == [{"type": "text", "text": "(This file is not there any more.)"}]
    assert (await chat.messages())[0].content == [reference]


async def test_what_an_agent_copies_out_of_a_file_is_its_own_and_stored_whole() -> None:
    seen = Seeing(keeps=True)
    chat = seeing(seen)
    file_id = await attached(chat, b"the whole text", "text/plain", "notes.txt")
    await chat.say(UserMessage([{"type": "file", "file_id": file_id}]))
    assert (await chat.values())["kept"] == "notes.txt:\n\nthe whole text"


async def test_blocks_with_data_of_their_own_are_left_alone() -> None:
    seen = Seeing()
    chat = seeing(seen)
    content = [{"type": "image", "url": "https://example.com/a.png"}, {"type": "text", "text": "file_id"}]
    await chat.say(UserMessage(content))
    await chat.say("And now?")
    assert [given[0].content for given in seen.given] == [content] * 4
