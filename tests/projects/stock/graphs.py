"""Small graphs of every shape that clients meet; the model is reached over a real socket (OPENAI_BASE_URL)."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt


def model() -> ChatOpenAI:
    return ChatOpenAI(model="scripted", api_key="none", max_retries=0)


# ---- chat ----
async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model().ainvoke(state["messages"])]}


chat = StateGraph(MessagesState).add_node("model", answer).add_edge(START, "model").compile()


# ---- agent with tools ----
@tool
async def get_weather(city: str) -> str:
    """The weather in a city."""
    get_stream_writer()({"looking": city})
    return f"sunny in {city}"


@tool
async def broken(reason: str) -> str:
    """A tool that fails."""
    raise ValueError(f"broken: {reason}")


async def call_model(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model().bind_tools([get_weather, broken]).ainvoke(state["messages"])]}


agent = (
    StateGraph(MessagesState)
    .add_node("model", call_model)
    .add_node("tools", ToolNode([get_weather, broken], handle_tool_errors=True))
    .add_edge(START, "model")
    .add_conditional_edges("model", tools_condition)
    .add_edge("tools", "model")
    .compile()
)


# ---- one question ----
async def ask_node(state: MessagesState) -> dict[str, Any]:
    value = interrupt({"question": "Shall I go on?"})
    return {"messages": [AIMessage(f"You answered {value!r}.")]}


ask = StateGraph(MessagesState).add_node("ask", ask_node).add_edge(START, "ask").compile()


# ---- two questions at once ----
async def left(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"left: {interrupt({'side': 'left'})}", id="left-answer")]}


async def right(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"right: {interrupt({'side': 'right'})}", id="right-answer")]}


two_asks = (
    StateGraph(MessagesState)
    .add_node("left", left)
    .add_node("right", right)
    .add_edge(START, "left")
    .add_edge(START, "right")
    .compile()
)


# ---- subgraph with custom stream data ----
async def research(state: MessagesState) -> dict[str, Any]:
    writer = get_stream_writer()
    writer({"progress": 1})
    reply = await model().ainvoke([HumanMessage("inner words")])
    writer({"progress": 2})
    return {"messages": [reply]}


inner = StateGraph(MessagesState).add_node("research", research).add_edge(START, "research").compile()


async def summary(state: MessagesState) -> dict[str, Any]:
    get_stream_writer()({"outer": True})
    return {"messages": [await model().ainvoke([HumanMessage("summary")])]}


nested = (
    StateGraph(MessagesState)
    .add_node("inner", inner)
    .add_node("summary", summary)
    .add_edge(START, "inner")
    .add_edge("inner", "summary")
    .compile()
)


# ---- a subgraph that asks ----
inner_asking = StateGraph(MessagesState).add_node("ask", ask_node).add_edge(START, "ask").compile()
inner_ask = (
    StateGraph(MessagesState)
    .add_node("inner", inner_asking)
    .add_node("summary", summary)
    .add_edge(START, "inner")
    .add_edge("inner", "summary")
    .compile()
)


# ---- Send fan-out over a state without messages ----
class Fan(TypedDict):
    items: list[str]
    done: Annotated[list[str], operator.add]


async def work(state: dict[str, Any]) -> dict[str, Any]:
    return {"done": [state["item"].upper()]}


def spread(state: Fan) -> list[Send]:
    return [Send("work", {"item": item}) for item in state["items"]]


async def collect(state: Fan) -> dict[str, Any]:
    return {"done": [f"{len(state['done'])} done"]}


fanout = (
    StateGraph(Fan)
    .add_node("work", work)
    .add_node("collect", collect)
    .add_conditional_edges(START, spread, ["work"])
    .add_edge("work", "collect")
    .compile()
)


# ---- any state ----
class Counter(TypedDict, total=False):
    number: int
    trail: Annotated[list[int], operator.add]


async def double(state: Counter) -> dict[str, Any]:
    return {"number": state["number"] * 2, "trail": [state["number"]]}


async def increment(state: Counter) -> Command[str]:
    return Command(update={"number": state["number"] + 1, "trail": [state["number"]]}, goto=END)


counter = (
    StateGraph(Counter)
    .add_node("double", double)
    .add_node("increment", increment, destinations=(END,))
    .add_edge(START, "double")
    .add_edge("double", "increment")
    .compile()
)


# ---- reasoning and multimodal blocks ----
class Thinker(BaseChatModel):
    """Streams reasoning, then text; no socket, because the OpenAI chat format has no reasoning."""

    @property
    def _llm_type(self) -> str:
        return "thinker"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("unused"))])

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        blocks = messages[-1].content
        kinds = [b["type"] for b in blocks] if isinstance(blocks, list) else ["text"]
        for word in ("Let me ", "think."):
            yield ChatGenerationChunk(
                message=AIMessageChunk([{"type": "reasoning", "reasoning": word, "index": 0}], id="thought-1")
            )
            await asyncio.sleep(0.01)
        for word in ("I saw ", ", ".join(kinds), "."):
            yield ChatGenerationChunk(
                message=AIMessageChunk([{"type": "text", "text": word, "index": 1}], id="thought-1")
            )
            await asyncio.sleep(0.01)


async def think(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Thinker().ainvoke(state["messages"])]}


thinker = StateGraph(MessagesState).add_node("think", think).add_edge(START, "think").compile()


# ---- long-term store ----
async def remember(state: MessagesState, runtime: Runtime[Any]) -> dict[str, Any]:
    assert runtime.store is not None
    text = state["messages"][-1].text
    await runtime.store.aput(("notes",), "last", {"text": text})
    found = await runtime.store.aget(("notes",), "last")
    assert found is not None
    return {"messages": [AIMessage(f"I remember {found.value['text']!r}.")]}


memory = StateGraph(MessagesState).add_node("remember", remember).add_edge(START, "remember").compile()


# ---- config and context ----
class Settings(TypedDict, total=False):
    tone: str


class Echo(TypedDict, total=False):
    seen: dict[str, Any]


async def echo(state: Echo, config: RunnableConfig, runtime: Runtime[Settings]) -> dict[str, Any]:
    configurable = config.get("configurable", {})
    return {
        "seen": {
            "context": dict(runtime.context or {}),
            "colour": configurable.get("colour"),
            "tags": sorted(config.get("tags") or []),
            "recursion_limit": config.get("recursion_limit"),
            "metadata_mark": (config.get("metadata") or {}).get("mark"),
        }
    }


configured = StateGraph(Echo, context_schema=Settings).add_node("echo", echo).add_edge(START, "echo").compile()


# ---- a node that raises ----
async def boom(state: MessagesState) -> dict[str, Any]:
    raise ValueError("the node raised")


failing = StateGraph(MessagesState).add_node("boom", boom).add_edge(START, "boom").compile()


# ---- three steps, for breakpoints and forks ----
class Steps(TypedDict, total=False):
    trail: Annotated[list[str], operator.add]


def step(name: str) -> Any:
    async def run(state: Steps) -> dict[str, Any]:
        return {"trail": [name]}

    return run


steps = (
    StateGraph(Steps)
    .add_node("a", step("a"))
    .add_node("b", step("b"))
    .add_node("c", step("c"))
    .add_edge(START, "a")
    .add_edge("a", "b")
    .add_edge("b", "c")
    .compile()
)
