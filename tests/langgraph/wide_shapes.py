"""Graphs that fan out, nest and ask, each in more than one of these ways; every node tells that it is entered.

Nodes say the same whenever they run from the same state: whoever runs one twice, loses one or takes one from another
place sees it in what is said afterwards.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from unbroken.adapters.langgraph.history import Graph

Builder = StateGraph[Any, Any, Any, Any]
Enter = Callable[[str], None]
"""Called with a node's name each time one is entered, and may end the process there."""


class Parts(MessagesState):
    parts: Annotated[list[str], operator.add]


class Part(TypedDict):
    number: int
    parts: Annotated[list[str], operator.add]


class Done(TypedDict):
    """What a part gives back: its number is its own."""

    parts: Annotated[list[str], operator.add]


def _plan(enter: Enter) -> Any:
    async def plan(state: Parts) -> dict[str, Any]:
        enter("plan")
        return {"messages": [AIMessage(f"planned after {len(state['messages'])} and {len(state['parts'])}")]}

    return plan


def _collect(enter: Enter) -> Any:
    async def collect(state: Parts) -> dict[str, Any]:
        enter("collect")
        return {"messages": [AIMessage("; ".join(state["parts"]))]}

    return collect


def _part(enter: Enter, *, asks: Sequence[int] = ()) -> Any:
    """The parts whose number is in `asks` ask."""

    async def part(state: Part) -> dict[str, Any]:
        name = f"part {state['number']}"
        enter(name)
        return {"parts": [f"{name} {interrupt(name)}" if state["number"] in asks else name]}

    return part


def _sent(to: str, count: int = 3) -> Callable[[Any], list[Send]]:
    return lambda state: [Send(to, {"number": number}) for number in range(count)]


def _fanned(enter: Enter, part: Any, count: int = 3, **options: Any) -> Graph:
    builder: Builder = StateGraph(Parts)
    builder.add_node("plan", _plan(enter))
    builder.add_node("part", part)
    builder.add_node("collect", _collect(enter))
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", _sent("part", count), ["part"])
    builder.add_edge("part", "collect")
    return builder.compile(**options)


def _inner(enter: Enter, *, asks: Sequence[int] = (), checkpointer: bool | None = None) -> Graph:
    """think → part."""

    async def think(state: Part) -> dict[str, Any]:
        enter(f"think {state['number']}")
        return {"parts": [f"thought of {state['number']}"]}

    builder: Builder = StateGraph(Part, output_schema=Done)
    builder.add_node("think", think)
    builder.add_node("part", _part(enter, asks=asks))
    builder.add_edge(START, "think")
    builder.add_edge("think", "part")
    return builder.compile(checkpointer=checkpointer)


def fan_out(enter: Enter) -> Graph:
    return _fanned(enter, _part(enter))


def fan_out_by_command(enter: Enter) -> Graph:
    """The node that sends also writes, and what is sent to may send on."""

    async def plan(state: Parts) -> Command[Literal["part"]]:
        enter("plan")
        return Command(update={"parts": ["plan"]}, goto=[Send("part", {"number": number}) for number in range(2)])

    async def part(state: Part) -> Command[Literal["part", "collect"]]:
        enter(f"part {state['number']}")
        number = state["number"]
        goto: Any = [Send("part", {"number": number + 10})] if number < 10 else "collect"
        return Command(update={"parts": [f"{number}"]}, goto=goto)

    builder: Builder = StateGraph(Parts)
    builder.add_node("plan", plan)
    builder.add_node("part", part)
    builder.add_node("collect", _collect(enter))
    builder.add_edge(START, "plan")
    return builder.compile()


def fan_out_of_subgraphs(enter: Enter) -> Graph:
    return _fanned(enter, _inner(enter))


def asked_in_a_fan_out(enter: Enter) -> Graph:
    """Two of three ask; the third one has finished by then."""
    return _fanned(enter, _part(enter, asks=(0, 2)))


def asked_in_a_fan_out_of_subgraphs(enter: Enter) -> Graph:
    return _fanned(enter, _inner(enter, asks=(0, 2)))


def asked_in_a_subgraph_that_remembers(enter: Enter) -> Graph:
    return _fanned(enter, _inner(enter, asks=(0,), checkpointer=True), count=1)


def fan_out_within_a_subgraph(enter: Enter) -> Graph:
    """The graph within is the one that fans out, and asks in one of its parts."""
    builder: Builder = StateGraph(Parts)
    builder.add_node("greet", _plan(enter))
    builder.add_node("inner", _fanned(enter, _part(enter, asks=(1,))))
    builder.add_edge(START, "greet")
    builder.add_edge("greet", "inner")
    return builder.compile()


def breakpoint_before_a_fan_out(enter: Enter) -> Graph:
    return _fanned(enter, _part(enter), interrupt_before=["part"])


def breakpoint_behind_a_fan_out(enter: Enter) -> Graph:
    return _fanned(enter, _part(enter), interrupt_after=["part"])


WIDE: dict[str, Callable[[Enter], Graph]] = {
    shape.__name__: shape
    for shape in (
        fan_out,
        fan_out_by_command,
        fan_out_of_subgraphs,
        asked_in_a_fan_out,
        asked_in_a_fan_out_of_subgraphs,
        asked_in_a_subgraph_that_remembers,
        fan_out_within_a_subgraph,
        breakpoint_before_a_fan_out,
        breakpoint_behind_a_fan_out,
    )
}
