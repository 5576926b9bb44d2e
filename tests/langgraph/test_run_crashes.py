"""A process that dies in a run goes on with it where it was."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from tests.langgraph.driving import Chat, Crash, Store
from tests.langgraph.run_graphs import (
    STEPS,
    Ours,
    State,
    asks,
    human,
    logs,
)
from tests.langgraph.scripted import chain
from unbroken.adapters.langgraph.history import Graph
from unbroken.domain.events import RunStart

pytestmark = pytest.mark.asyncio


class Dying:
    """A node that dies the first time."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def node(self, name: str, *, dies: bool = False) -> Any:
        def run(state: State) -> dict[str, Any]:
            self.runs.append(name)
            if dies and self.runs.count(name) == 1:
                raise Crash
            return {"log": [name], "messages": [AIMessage(name)]}

        return run


async def crashed(ours: Ours, body: RunStart) -> None:
    with pytest.raises(Crash):
        await ours.event(body)
    await ours.chat.run(await ours.chat.reclaim())


async def test_a_crash_in_a_run_repeats_the_superstep_it_hit_and_gives_its_input_once(store: Store) -> None:
    for place in ("one", "two"):
        dying = Dying()
        nodes = [(name, dying.node(name, dies=name == place)) for name in ("one", "two", "three")]
        ours = Ours(chain(*nodes, state=State), store)
        await crashed(ours, RunStart(input=human("hi"), config={"configurable": {"k": 1}}))
        assert (await ours.ended())["log"] == ["one", "two", "three"]
        assert [message.type for message in await ours.chat.messages()] == ["human", "ai", "ai", "ai"]
        assert dying.runs.count(place) == 2
        assert len(dying.runs) == 4


async def test_a_crash_on_a_branch_goes_on_there(store: Store) -> None:
    dying = Dying()
    graph = chain(("one", logs("one")), ("two", logs("two")), ("three", logs("three")), state=State)
    ours = Ours(graph, store)
    await ours.run(human("hi"))
    await ours.run(human("again"))
    place = await ours.checkpoint(1)
    nodes = [("one", dying.node("one")), ("two", dying.node("two")), ("three", dying.node("three", dies=True))]
    ours.chat = renewed(ours.chat, chain(*nodes, state=State))
    await crashed(ours, RunStart(input=human("instead"), checkpoint_id=place))
    assert (await ours.ended())["log"] == ["one", "one", "two", "three"]
    assert dying.runs == ["one", "two", "three", "three"]


def renewed(chat: Chat, graph: Graph) -> Chat:
    """The same thread, with another version of its graph."""
    chat.graph = graph
    chat.agent = type(chat.agent)(graph, chat.store.checkpoints)
    return chat


async def test_a_crash_leaves_a_stop_where_the_run_asked_for_it(store: Store) -> None:
    dying = Dying()
    nodes = [(name, dying.node(name, dies=name == "two")) for name in ("one", "two", "three", "four")]
    ours = Ours(chain(*nodes, state=State), store)
    await crashed(ours, RunStart(input=human("hi"), interrupt_before=["four"]))
    assert await ours.ended() | {"messages": []} == {
        "log": ["one", "two", "three"],
        "messages": [],
        "next": ["four"],
        "asked": [],
    }


async def test_a_crash_at_such_a_stop_does_not_pass_it(store: Store) -> None:
    for stop in ({"interrupt_before": ["two"]}, {"interrupt_after": "*"}):
        ours = Ours(STEPS, store)
        claim = await ours.chat.accept(RunStart(input=human("hi"), **stop))
        await ours.chat.agent.run(await ours.chat.begun(claim))  # and the process dies before the end is committed
        await ours.chat.run(await ours.chat.reclaim())
        ended = await ours.ended()
        assert (ended["log"], ended["next"]) == (["one"], ["two"])


async def test_a_crash_in_a_resumed_run_answers_once(store: Store) -> None:
    dying = Dying()
    ours = Ours(chain(("ask", asks("ask")), ("two", dying.node("two", dies=True)), state=State), store)
    await ours.run(human("hi"))
    await crashed(ours, RunStart(command={"resume": "yes", "update": {"log": ["besides"]}}))
    assert (await ours.ended())["log"] == ["besides", "ask: yes", "two"]
