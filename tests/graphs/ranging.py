"""A graph that uses all that a run may show: it thinks, calls a tool, writes into the stream, fans out to a subgraph
that speaks for itself, sends a picture, and jumps with a command. `pause=0.2` slows it down for people."""

from __future__ import annotations

import asyncio
import base64
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from tests.graphs.speech import option


def picture() -> str:
    """Two stripes, as a PNG in base64."""
    rows = b"".join(b"\0" + (b"\x2a\x6f\x97" if y < 40 else b"\xe8\xc4\x6a") * 160 for y in range(80))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 160, 80, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


class Saying(BaseChatModel):
    """Says its blocks, words one by one; what has an `index` is one block to whoever puts the chunks together."""

    blocks: list[dict[str, Any]]
    calls: tuple[dict[str, Any], ...] = ()
    pause: float = 0

    @property
    def _llm_type(self) -> str:
        return "saying"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage([*self.blocks]))])

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for index, block in enumerate(self.blocks):
            words = block.get(block["type"])
            pieces = [f"{word} " for word in words.split()] if isinstance(words, str) else [None]
            for piece in pieces:
                await asyncio.sleep(self.pause)
                said = {**block, "index": index} | ({} if piece is None else {block["type"]: piece})
                yield ChatGenerationChunk(message=AIMessageChunk(content=[said]))
        calls = [
            tool_call_chunk(name=call["name"], args=call["args"], id=call["id"], index=len(self.blocks) + index)
            for index, call in enumerate(self.calls)
        ]
        yield ChatGenerationChunk(message=AIMessageChunk(content=[], tool_call_chunks=calls))


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "reasoning": text}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def pause(messages: Sequence[BaseMessage]) -> float:
    return option([(message.type, str(message.content)) for message in messages], "pause", 0)


@tool
async def measure(place: str) -> str:
    """Measure the tide somewhere."""
    for done in (1, 2):
        get_stream_writer()({"measuring": place, "done": done / 2})
    return f"high water in {place}"


async def plan(state: MessagesState) -> Command[Any]:
    slow = pause(state["messages"])
    model = Saying(
        blocks=[thought("The tide decides. I should measure it first."), text("Let me measure the tide.")],
        calls=({"name": "measure", "args": '{"place": "Ushant"}', "id": "call-1"},),
        pause=slow,
    )
    return Command(update={"messages": [await model.ainvoke(state["messages"])]}, goto="tools")


class Errand(TypedDict):
    side: str
    slow: float
    notes: list[str]


async def note(state: Errand) -> dict[str, Any]:
    get_stream_writer()(f"asking the {state['side']}")
    model = Saying(blocks=[text(f"The {state['side']} light is lit and the lamp is clean.")], pause=state["slow"])
    said = await model.ainvoke([HumanMessage(state["side"])])
    return {"notes": [str(said.text)]}


errand = StateGraph(Errand).add_node(note).add_edge(START, "note").add_edge("note", END).compile()


class Watch(MessagesState):
    notes: Annotated[list[str], lambda old, new: sorted({*old, *new})]


def send_out(state: Watch) -> list[Send]:
    slow = pause(state["messages"])
    return [Send("errand", {"side": side, "slow": slow, "notes": []}) for side in ("north", "south")]


async def report(state: Watch) -> dict[str, Any]:
    model = Saying(
        blocks=[
            thought(f"Both of them answered, {len(state['notes'])} notes in all."),
            text("High water at Ushant, and **both lights** are lit."),
            {"type": "image", "base64": picture(), "mime_type": "image/png"},
        ],
        pause=pause(state["messages"]),
    )
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = (
    StateGraph(Watch)
    .add_node(plan, destinations=("tools",))
    .add_node("tools", ToolNode([measure]))
    .add_node("errand", errand)
    .add_node(report)
    .add_edge(START, "plan")
    .add_conditional_edges("tools", send_out, ["errand"])
    .add_edge("errand", "report")
    .add_edge("report", END)
    .compile()
)
