"""Questions that a graph waits with: several at once, nested, asked again, and answered by another process."""

from __future__ import annotations

import operator
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from tests.checker.model_rules import violations
from tests.langgraph.driving import Chat, Store, reply
from tests.langgraph.stages import Builder, Stage, in_a_tool_of_its_own_task, loop, tool_node, using
from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.history import Graph
from unbroken.domain.errors import QuestionClosed
from unbroken.domain.events import InputResponse
from unbroken.domain.policy import CommitMode
from unbroken.domain.turn import Answer

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("mode", list(CommitMode))]


class Heard(MessagesState):
    heard: Annotated[list[str], operator.add]


def asking(*nodes: str, times: int = 1) -> Graph:
    """All of these nodes ask at once, each as often as told; then one node says what they heard."""

    def node(name: str) -> Any:
        def ask(state: Heard) -> dict[str, Any]:
            return {"heard": [f"{name} {interrupt(f'{name} {number}')}" for number in range(times)]}

        return ask

    async def tell(state: Heard) -> dict[str, Any]:
        return {"messages": [AIMessage(", ".join(sorted(state["heard"])))]}

    builder: Builder = StateGraph(Heard)
    builder.add_node("tell", tell)
    for name in nodes:
        builder.add_node(name, node(name))
        builder.add_edge(START, name)
    builder.add_edge(list(nodes), "tell")
    return builder.compile()


def nested(inner: Graph, **options: Any) -> Graph:
    builder: Builder = StateGraph(Heard)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    return builder.compile(**options)


class Restarting(Chat):
    """Each event is run by an agent that has nothing but the store, as another process would."""

    async def run(self, claim: Any) -> Answer:
        self.agent = LangGraphAgent(self.graph, self.store.checkpoints, commit=self.agent.commit)
        return await super().run(claim)


def asked(answer: Answer) -> dict[str, str]:
    return {str(question.value): question.interrupt_id for question in answer.questions}


@pytest.mark.parametrize("wrap", [lambda graph: graph, nested], ids=["root", "subgraph"])
async def test_questions_that_are_open_at_once_are_answered_one_by_one(
    mode: CommitMode, wrap: Any, store: Store
) -> None:
    chat = Restarting(wrap(asking("a", "b", "c")), store=store, commit=mode)
    open_ = asked(await chat.say("go"))
    assert sorted(open_) == ["a 0", "b 0", "c 0"]
    for value, left in [("b 0", ["a 0", "c 0"]), ("a 0", ["c 0"])]:
        answer = await chat.say(reply(open_[value], f"for {value}"))
        assert (answer.text, asked(answer)) == ("", {name: open_[name] for name in left})
    answer = await chat.say(reply(open_["c 0"], None))
    assert (answer.text, answer.questions) == ("a for a 0, b for b 0, c None", ())


@pytest.mark.parametrize("wrap", [lambda graph: graph, nested], ids=["root", "subgraph"])
async def test_a_node_that_asks_twice_hears_both_answers(mode: CommitMode, wrap: Any, store: Store) -> None:
    chat = Restarting(wrap(asking("a", times=2)), store=store, commit=mode)
    first = asked(await chat.say("go"))
    second = asked(await chat.say(reply(first["a 0"], "one")))
    assert list(second) == ["a 1"]
    assert (await chat.say(reply(second["a 1"], "two"))).text == "a one, a two"


async def test_nodes_that_ask_twice_beside_each_other_do_not_take_each_others_answers(mode: CommitMode) -> None:
    chat = Restarting(asking("a", "b", times=2), commit=mode)
    open_ = asked(await chat.say("go"))
    for value in ("b 0", "b 1", "a 0"):
        open_ = asked(await chat.say(reply(open_[value], value)))
    answer = await chat.say(reply(open_["a 1"], "a 1"))
    assert answer.text == "a a 0, a a 1, b b 0, b b 1"


async def test_an_answer_to_a_question_that_the_state_does_not_hold_changes_nothing(mode: CommitMode) -> None:
    chat = Chat(asking("a", "b"), commit=mode)
    open_ = asked(await chat.say("go"))
    before = await chat.values()
    for stray in (reply("0123456789abcdef0123456789abcdef", 1), InputResponse(open_["a 0"], 1), InputResponse("", 1)):
        with pytest.raises(QuestionClosed):
            await chat.say(stray)
        await chat.revert(await chat.reclaim())
    assert await chat.values() == before
    assert len((await chat.say(reply(open_["a 0"], 1))).questions) == 1


async def test_tools_that_ask_at_once_each_get_their_result(mode: CommitMode, store: Store) -> None:
    chat = Restarting(in_a_tool_of_its_own_task(Stage(stops=0), "ask", "quick", "ask"), store=store, commit=mode)
    first, second = (await chat.say("go")).questions
    assert first.interrupt_id != second.interrupt_id
    (left,) = (await chat.say(reply(first.interrupt_id, "one"))).questions
    assert left == second
    assert (await chat.say(reply(left.interrupt_id, "two"))).text == "All done."
    messages = await chat.messages()
    assert violations(messages) == []
    assert sorted(str(message.content) for message in messages if isinstance(message, ToolMessage)) == [
        "one",
        "quick",
        "two",
    ]


@pytest.mark.parametrize("options", [{"interrupt_before": ["tools"]}, {"interrupt_after": ["agent"]}])
@pytest.mark.parametrize("inside", [False, True], ids=["root", "subgraph"])
@pytest.mark.parametrize("approved", [True, False])
async def test_a_breakpoint_is_passed_by_true_and_by_nothing_else(
    mode: CommitMode, options: dict[str, Any], inside: bool, approved: bool, store: Store
) -> None:
    stage = Stage(stops=0)
    graph = loop(stage, using("slow"), tool_node(stage)).compile(**options)
    chat = Restarting(nested(graph) if inside else graph, store=store, commit=mode)
    (question,) = (await chat.say("go")).questions
    answer = await chat.say(reply(question.interrupt_id, approved))
    while approved and answer.questions:  # an `interrupt_after` stands behind the last answer as well
        answer = await chat.say(reply(answer.questions[0].interrupt_id, True))
    messages = await chat.messages()
    assert answer.questions == ()
    assert violations([*messages]) == []
    results = [message.content for message in messages if isinstance(message, ToolMessage)]
    assert ("slow" in results) is approved
    assert (await chat.say("again")).questions != ()
