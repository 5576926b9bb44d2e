"""Graphs that stop or fail at a place of the test's choice, around a model that takes only what providers take."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.prebuilt import ToolNode
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from tests.checker.model_rules import violations
from tests.langgraph.scripted import Script, ScriptedModel
from unbroken.adapters.langgraph.history import Graph

Builder = StateGraph[Any, Any, Any, Any]
NUMBERS = itertools.count()


class Stage:
    """Where the run stops: the first `stops` times that it comes by, unless it `fails` there."""

    def __init__(self, *, stops: int = 1, fails: bool = False) -> None:
        self.reached = asyncio.Event()
        self.stops = stops
        self.fails = fails

    async def stop(self) -> None:
        if self.stops <= 0:
            return
        self.stops -= 1
        self.reached.set()
        if self.fails:
            raise RuntimeError("it broke")
        await asyncio.Event().wait()


class StrictModel(ScriptedModel):
    """Refuses a history as providers do; where its script says `|`, it comes to the stage."""

    stage: Any = None

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        if found := violations(messages):
            raise RuntimeError(f"400: {found}")
        for chunk in self._chunks(messages):
            said = chunk.message.content
            if isinstance(said, str) and "|" in said:
                before, _, after = said.partition("|")
                yield ChatGenerationChunk(message=AIMessageChunk(content=before, id=chunk.message.id))
                await self.stage.stop()
                chunk.message.content = after
            yield chunk


def calls(*names: str, text: str = "") -> AIMessage:
    """Ids differ from turn to turn: providers refuse one that was there before."""
    return AIMessage(text, tool_calls=[{"name": name, "args": {}, "id": f"{name}-{next(NUMBERS)}"} for name in names])


def used(messages: list[BaseMessage]) -> bool:
    """Whether a tool was used since the user spoke."""
    last = next(index for index in reversed(range(len(messages))) if isinstance(messages[index], HumanMessage))
    return any(isinstance(message, ToolMessage) for message in messages[last:])


def agent(stage: Stage, script: Script) -> Any:
    model = StrictModel(script=script, stage=stage)

    async def node(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return node


def loop(stage: Stage, script: Script, tools: Any, state: Any = MessagesState) -> Builder:
    def after(state: Any) -> str:
        last = state["messages"][-1]
        assert isinstance(last, AIMessage), "routing was asked about a history that the graph never makes"
        return "tools" if last.tool_calls else END

    builder: Builder = StateGraph(state)
    builder.add_node("agent", agent(stage, script))
    builder.add_node("tools", tools)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", after, ["tools", END])
    builder.add_edge("tools", "agent")
    return builder


def tool_node(stage: Stage) -> ToolNode:
    @tool
    async def quick() -> str:
        """Answers at once."""
        return "quick"

    @tool
    async def slow() -> str:
        """Comes to the stage."""
        await stage.stop()
        return "slow"

    @tool
    async def ask() -> str:
        """Asks."""
        return str(interrupt("go on?"))

    @tool
    async def ask_slowly() -> str:
        """Asks, then comes to the stage."""
        answer = interrupt("go on?")
        await stage.stop()
        return str(answer)

    return ToolNode([quick, slow, ask, ask_slowly], handle_tool_errors=False)


def using(*names: str, after: str = "All done.") -> Script:
    return lambda messages: AIMessage(after) if used(messages) else calls(*names, text="Let me see.")


def speaking(stage: Stage) -> Graph:
    return loop(stage, lambda messages: "Half of it | and the rest.", tool_node(stage)).compile()


def in_a_tool(stage: Stage) -> Graph:
    return loop(stage, using("slow"), tool_node(stage)).compile()


def in_one_of_two_tools(stage: Stage) -> Graph:
    return loop(stage, using("quick", "slow"), tool_node(stage)).compile()


def after_a_tool(stage: Stage) -> Graph:
    return loop(stage, using("quick", after="It is quick, | so to speak."), tool_node(stage)).compile()


def in_a_tool_of_its_own_task(stage: Stage, *names: str) -> Graph:
    tools = tool_node(stage)

    def fan(state: Any) -> Any:
        found = state["messages"][-1].tool_calls
        return [Send("tools", {"messages": [AIMessage("", tool_calls=[call])]}) for call in found] or END

    builder: Builder = StateGraph(MessagesState)
    builder.add_node("agent", agent(stage, using(*names or ("quick", "slow"))))
    builder.add_node("tools", tools)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", fan, ["tools", END])
    builder.add_edge("tools", "agent")
    return builder.compile()


def in_a_subgraph(stage: Stage, script: Script | None = None, *, checkpointer: bool | None = None) -> Graph:
    inner = loop(stage, script or using("slow"), tool_node(stage)).compile(checkpointer=checkpointer)
    builder: Builder = StateGraph(MessagesState)
    builder.add_node("greet", agent(stage, lambda messages: "Hello."))
    builder.add_node("inner", inner)
    builder.add_edge(START, "greet")
    builder.add_edge("greet", "inner")
    return builder.compile()


def in_a_subgraph_that_remembers(stage: Stage) -> Graph:
    return in_a_subgraph(stage, checkpointer=True)


class Deltas(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=4)]


def with_deltas(stage: Stage) -> Graph:
    return loop(stage, using("slow"), tool_node(stage), Deltas).compile()


def in_the_last_node(stage: Stage) -> Graph:
    async def last(state: Any) -> dict[str, Any]:
        await stage.stop()
        return {}

    builder: Builder = StateGraph(MessagesState)
    builder.add_node("answer", agent(stage, lambda messages: "An answer."))
    builder.add_node("last", last)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "last")
    return builder.compile()


PLACES: dict[str, Callable[[Stage], Graph]] = {
    place.__name__: place
    for place in (
        speaking,
        in_a_tool,
        in_one_of_two_tools,
        after_a_tool,
        in_a_tool_of_its_own_task,
        in_a_subgraph,
        in_a_subgraph_that_remembers,
        with_deltas,
        in_the_last_node,
    )
}
