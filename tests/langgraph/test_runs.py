"""Runs and state updates as LangGraph's own clients ask for them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from tests.langgraph.run_graphs import (
    ASKS,
    STEPS,
    Order,
    Ours,
    State,
    asked,
    asks,
    human,
    logs,
    routed,
    side_by_side,
)
from tests.langgraph.scripted import chain, model_node
from unbroken.adapters.langgraph.history import Graph
from unbroken.domain.errors import AgentRaised, BranchGone, QuestionClosed
from unbroken.domain.events import InputResponse, RunStart, StateUpdate
from unbroken.domain.policy import question_id, questions_after

pytestmark = pytest.mark.asyncio


async def test_goto_may_send_something_along() -> None:
    ours = Ours(routed())
    await ours.run(human("hi"))
    before = len((await ours.ended())["log"])
    await ours.run(Order(goto=[{"node": "part", "input": {"n": 7}}, "aside"]))
    assert sorted((await ours.ended())["log"][before:]) == ["aside", "part 7"]


async def test_a_list_updates_the_state_once_for_each() -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    await ours.update([{"log": ["a"]}, {"log": ["b"]}], "three")
    ended = await ours.ended()
    assert (ended["log"][-2:], ended["next"]) == (["a", "b"], [])


async def test_one_of_two_questions_may_be_answered_under_either_id() -> None:
    for named in (lambda own: own, lambda own: question_id(own, 1)):
        ours = Ours(side_by_side())
        ids = asked(await ours.run(human("hi")))
        claim = await ours.chat.accept(RunStart(command={"resume": {named(ids["left"]): "l"}}))
        answer = await ours.chat.run(claim)
        assert asked(answer) == {"right": ids["right"]}
        after = questions_after(claim, answer.questions)
        assert [(one.interrupt_id, one.outcome) for one in after.closed] == [(question_id(ids["left"], 1), "answered")]
        assert after.open == (question_id(ids["right"], 1),)
        await ours.event(InputResponse(question_id(ids["right"], 1), "r"))
        assert sorted((await ours.ended())["log"]) == ["end", "left: l", "right: r"]


async def test_two_questions_may_be_answered_at_once() -> None:
    ours = Ours(side_by_side())
    ids = asked(await ours.run(human("hi")))
    await ours.run(Order(resume={ids["left"]: "l", ids["right"]: "r", "0" * 32: "nobody's"}))
    assert sorted((await ours.ended())["log"]) == ["end", "left: l", "right: r"]


async def test_what_nobody_asks_cannot_be_answered() -> None:
    ours = Ours(ASKS)
    with pytest.raises(QuestionClosed):
        await ours.run(Order(resume="yes"))
    ours = Ours(ASKS)
    await ours.run(human("hi"))
    with pytest.raises(QuestionClosed):
        await ours.run(Order(resume={"0" * 32: "yes"}))


async def test_who_answers_nothing_is_told_so_and_closes_nothing() -> None:
    ours = Ours(ASKS)
    await ours.run(human("hi"))
    claim = await ours.chat.accept(RunStart(command={"resume": {}}))
    with pytest.raises(AgentRaised, match="empty object"):
        await ours.chat.work(claim)


async def test_a_question_that_is_asked_again_is_not_answered_under_its_former_name() -> None:
    ours = Ours(side_by_side())
    ids = asked(await ours.run(human("hi")))
    await ours.run(None)  # nobody has answered, and both are asked anew
    claim = await ours.chat.accept(RunStart(command={"resume": {question_id(ids["left"], 1): "late"}}))
    assert claim.open_questions == tuple(question_id(id_, 2) for id_ in ids.values())
    with pytest.raises(QuestionClosed):
        await ours.chat.work(claim)


@pytest.mark.parametrize("form", ["own", "ours"])
async def test_a_run_that_names_a_breakpoint_passes_it_only_with_true(form: str) -> None:
    for answer, log in ((False, ["one"]), (True, ["one", "ask: next", "three"])):
        ours = Ours(chain(("one", logs("one")), ("two", asks("ask")), ("three", logs("three")), state=State))
        (id_,) = asked(await ours.run(human("hi"), interrupt_before=["two"])).values()
        named = id_ if form == "own" else question_id(id_, 1)
        await ours.run(Order(resume={named: answer}))
        if answer:
            assert list(asked(ours.last)) == ["ask"], "the answer was one to the breakpoint alone"
            await ours.run(Order(resume="next"))
        assert (await ours.ended())["log"] == log


@pytest.mark.parametrize(
    "wrong", [{"resum": 1}, {"goto": 7}, {"goto": [{"input": 1}]}, {"update": [["a"]]}, {"update": ["a"]}]
)
async def test_what_is_no_command_fails_the_turn_and_says_why(wrong: dict[str, Any]) -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    with pytest.raises(AgentRaised, match=r"command|goto|update"):
        await ours.run(Order(**wrong))


async def test_pairs_may_update_a_channel_twice() -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    await ours.run(Order(update=[["log", ["a"]], ["log", ["b"]]], goto="three"))
    assert (await ours.ended())["log"][-3:] == ["a", "b", "three"]


def looking(seen: dict[str, Any]) -> Graph:
    def node(state: State, config: RunnableConfig, runtime: Runtime[Any]) -> dict[str, Any]:
        seen.update(config=config, context=runtime.context)
        return {"log": ["looked"]}

    return chain(("look", node), state=State)


async def test_a_runs_config_reaches_its_nodes_but_names_no_thread_and_no_user() -> None:
    seen: dict[str, Any] = {}
    ours = Ours(looking(seen))
    theirs = {"thread_id": "x", "user_id": "x", "checkpoint_id": "x", "__pregel_read": "x", "langgraph_auth_user": "x"}
    config = {"tags": ["a"], "metadata": {"b": 1}, "recursion_limit": 7, "configurable": {**theirs, "tone": "dry"}}
    await ours.run(human("hi"), config=config, metadata={"c": 2}, context={"d": 3})
    configurable = seen["config"]["configurable"]
    assert (configurable["tone"], configurable["user_id"]) == ("dry", "ann")
    assert configurable["thread_id"] == ours.chat.key.thread_id
    assert "langgraph_auth_user" not in configurable
    assert configurable.get("checkpoint_id") != "x"
    assert seen["config"]["recursion_limit"] == 7
    assert "a" in seen["config"]["tags"]
    metadata = seen["config"]["metadata"]
    assert (metadata["b"], metadata["c"], metadata["run_id"]) == (1, 2, ours.chat.seen.claim.event.id)
    assert seen["context"] == {"d": 3}


async def test_a_runs_limit_of_steps_holds() -> None:
    ours = Ours(STEPS)
    with pytest.raises(AgentRaised, match="limit of steps"):
        await ours.run(human("hi"), config={"recursion_limit": 2})


async def test_what_came_with_a_run_is_not_its_answer() -> None:
    ours = Ours(chain(("say", model_node()), state=State))
    given = [human("one")["messages"][0], {"type": "ai", "content": "two"}, human("three", id="mine")["messages"][0]]
    answer = await ours.run({"messages": given})
    assert answer.text == "you said three"
    assert [message["role"] for message in answer.content] == ["assistant"]
    event_id = ours.chat.seen.claim.event.id
    assert [message.id for message in await ours.chat.messages()][:3] == [f"{event_id}:0", f"{event_id}:1", "mine"]


async def test_unanswered_calls_are_closed_before_other_input() -> None:
    call = {"name": "look", "args": {}, "id": "c1"}

    def model(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage("", tool_calls=[call]) if len(messages) == 1 else AIMessage("well")

    ours = Ours(chain(("say", model_node(model)), state=State))
    await ours.run(human("hi"))
    await ours.run(human("never mind"))
    assert [message.type for message in await ours.chat.messages()] == ["human", "ai", "tool", "human", "ai"]
    ours = Ours(chain(("say", model_node(model)), state=State))
    await ours.run(human("hi"))
    await ours.run({"messages": [{"type": "tool", "content": "done in the browser", "tool_call_id": "c1"}]})
    messages = await ours.chat.messages()
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert isinstance(messages[2], ToolMessage)
    assert messages[2].status == "success"


async def test_a_checkpoint_that_is_not_there_is_said_to_be_gone() -> None:
    for body in (RunStart(input=human("x"), checkpoint_id=str(uuid4())), StateUpdate({}, "one", str(uuid4()))):
        ours = Ours(STEPS)
        await ours.run(human("hi"))
        with pytest.raises(BranchGone):
            await ours.event(body)


async def test_a_wrong_node_fails_the_update_and_leaves_the_state() -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    before = await ours.ended()
    with pytest.raises(AgentRaised, match="nobody"):
        await ours.update({"log": ["x"]}, "nobody")
    assert await ours.ended() == before


async def test_an_update_asks_nobody_whether_to_go_on() -> None:
    ours = Ours(STEPS)
    await ours.run(human("hi"))
    answer = await ours.update({"log": ["x"]}, "one")
    assert (answer.questions, answer.text, answer.content, answer.stands) == ((), "", [], True)
    assert (await ours.ended())["next"] == ["two"]
    assert not (await ours.update({"log": ["x"]}, "three")).stands


async def test_a_stop_that_a_run_asked_for_is_a_question_in_the_chat() -> None:
    ours = Ours(STEPS)
    answer = await ours.run(human("hi"), interrupt_before=["two"])
    (question,) = answer.questions
    assert question.value == {"type": "breakpoint", "nodes": ["two"]}
    await ours.event(InputResponse(question_id(question.interrupt_id, 1), True))
    assert (await ours.ended())["log"] == ["one", "two", "three"]


async def test_a_run_that_is_stopped_keeps_what_it_said_and_what_it_was_told() -> None:
    reached = asyncio.Event()

    async def node(state: State) -> dict[str, Any]:
        reached.set()
        await asyncio.Event().wait()
        return {}

    ours = Ours(chain(("one", logs("one")), ("wait", node), state=State))
    await ours.chat.stop(await ours.chat.accept(RunStart(input=human("hi"))), reached)
    assert [(message.type, message.content) for message in await ours.chat.messages()] == [
        ("human", "hi"),
        ("ai", "one after 0"),
    ]
