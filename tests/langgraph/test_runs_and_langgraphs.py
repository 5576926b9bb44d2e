"""Runs and state updates end as they do for a graph with LangGraph's own saver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END
from langgraph.types import Command

from tests.langgraph.driving import Store
from tests.langgraph.run_graphs import (
    ASKS,
    STEPS,
    Order,
    Ours,
    human,
    routed,
    side_by_side,
    state_of,
    within,
)
from unbroken.adapters.langgraph.history import Graph, kept_by

pytestmark = pytest.mark.asyncio


class Theirs:
    """The same, asked of the graph itself."""

    def __init__(self, graph: Graph) -> None:
        self.graph: Graph = kept_by(graph, InMemorySaver())

    async def run(self, entry: Any = None, *, step: int | None = None, **more: Any) -> None:
        given = Command(**entry.command) if isinstance(entry, Order) else entry
        await self.graph.ainvoke(given, await self.config(step), durability="sync", **more)

    async def update(self, values: Any, as_node: str | None = None, *, step: int | None = None) -> None:
        await self.graph.aupdate_state(await self.config(step), values, as_node)

    async def config(self, step: int | None) -> RunnableConfig:
        thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
        if step is None:
            return thread
        found = [one async for one in self.graph.aget_state_history(thread)]
        return next(one.config for one in found if one.metadata and one.metadata["step"] == step)

    async def ids(self) -> dict[str, str]:
        state = await self.graph.aget_state(await self.config(None))
        return {one.value: one.id for one in state.interrupts}

    async def ended(self) -> dict[str, Any]:
        return await state_of(self.graph, "t")


async def plain(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(human("again", id="mine"))


async def resumes(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(resume={"any": "json"}))


async def input_instead_of_an_answer(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(human("never mind"))


async def resumes_with_an_update(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(resume="yes", update={"log": ["besides"]}))


async def goes_elsewhere(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(goto="two", update={"log": ["jumped"]}))


async def replays(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(None, step=1)


async def branches_with_new_input(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(human("again"))
    await who.run(human("instead"), step=2)
    await who.run(human("and on"))


async def asks_anew(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(resume="yes"))
    await who.run(None, step=1)


async def asks_anew_and_is_answered(who: Any) -> None:
    await asks_anew(who)
    await who.run(Order(resume="later"))


async def asks_both_anew(who: Any) -> None:
    await who.run(human("hi"))
    await who.run(Order(resume={(await who.ids())["left"]: "l"}))
    await who.run(None, step=0)


async def stops_where_it_is_told(who: Any) -> None:
    await who.run(human("hi"), interrupt_before=["two"])


async def goes_on_from_a_stop(who: Any) -> None:
    await who.run(human("hi"), interrupt_after=["one"])
    await who.run(None, interrupt_before="*")
    await who.run(None)


async def updates(who: Any) -> None:
    await who.run(human("hi"))
    await who.update({"log": ["changed"]}, "one")
    await who.run(None)


async def updates_a_new_thread(who: Any) -> None:
    await who.update(human("written"), "__start__")
    await who.run(None)


async def updates_in_the_past(who: Any) -> None:
    await who.run(human("hi"))
    await who.update({"log": ["changed"]}, "one", step=1)
    await who.run(None)


async def clears(who: Any) -> None:
    await who.run(human("hi"), interrupt_before=["two"])
    await who.update(None, END)


async def updates_while_it_asks(who: Any) -> None:
    await who.run(human("hi"))
    await who.update({"log": ["meanwhile"]})
    await who.run(Order(resume="yes"))


SCRIPTS: list[tuple[Graph, Callable[[Any], Any]]] = [
    (STEPS, plain),
    (ASKS, resumes),
    (ASKS, resumes_with_an_update),
    (ASKS, input_instead_of_an_answer),
    (STEPS, goes_elsewhere),
    (STEPS, replays),
    (STEPS, branches_with_new_input),
    (ASKS, asks_anew),
    (ASKS, asks_anew_and_is_answered),
    (within(), resumes),
    (within(), asks_anew_and_is_answered),
    (within(), replays),
    (side_by_side(), asks_both_anew),
    (STEPS, stops_where_it_is_told),
    (STEPS, goes_on_from_a_stop),
    (STEPS, updates),
    (STEPS, updates_a_new_thread),
    (STEPS, updates_in_the_past),
    (STEPS, clears),
    (ASKS, updates_while_it_asks),
    (routed(), plain),
]


@pytest.mark.parametrize(("graph", "script"), SCRIPTS, ids=lambda value: getattr(value, "__name__", ""))
async def test_runs_end_as_they_do_with_langgraphs_own_saver(
    graph: Graph, script: Callable[[Any], Any], store: Store
) -> None:
    ours, theirs = Ours(graph, store), Theirs(graph)
    await script(ours)
    await script(theirs)
    assert await ours.ended() == await theirs.ended()


@pytest.mark.parametrize(("graph", "first"), [(ASKS, ["one"]), (within(), ["before"])], ids=["root", "within"])
async def test_a_question_of_the_past_gets_the_new_answer(graph: Graph, first: list[str], store: Store) -> None:
    """LangGraph's own savers keep the answer of then beside that checkpoint, and give that one again."""
    ours = Ours(graph, store)
    await ours.run(human("hi"))
    await ours.run(Order(resume="yes"))
    old = (await ours.ended())["log"]
    await ours.run(Order(resume="no"), step=1)
    assert [entry.replace("yes", "no") for entry in old] == (await ours.ended())["log"][len(first) - 1 :]
