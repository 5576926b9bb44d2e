"""However a turn ends without an answer: models take the history, it holds what was read, and the next turn works."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from tests.checker.model_rules import violations
from tests.langgraph.driving import Chat, Store, reply
from tests.langgraph.scripted import chain, model_node
from tests.langgraph.stages import PLACES, Stage, in_a_subgraph, in_a_tool_of_its_own_task, loop, tool_node, using
from unbroken.adapters.langgraph.settling import unsaid
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.errors import QuestionClosed
from unbroken.domain.policy import CommitMode

pytestmark = pytest.mark.asyncio

MODES = list(CommitMode)


def refused(messages: list[BaseMessage]) -> list[str]:
    """What a provider would say to the next message."""
    return violations([*messages, HumanMessage("next")])


def said(messages: list[BaseMessage]) -> str:
    """As a reader sees it: the words after the last message of the user."""
    last = max(index for index, message in enumerate(messages) if isinstance(message, HumanMessage))
    return "\n\n".join(str(one.content) for one in messages[last:] if isinstance(one, AIMessage) and one.content)


@pytest.mark.parametrize("reason", ["cancelled", "failed"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", PLACES)
async def test_a_turn_that_ends_anywhere_leaves_a_history_that_goes_on(
    place: str, mode: CommitMode, reason: str, store: Store
) -> None:
    stage = Stage(stops=0, fails=reason == "failed")
    chat = Chat(PLACES[place](stage), store=store, commit=mode)
    whole = (await chat.say("first")).text
    for _ in range(2):
        stage.reached.clear()
        stage.stops = 1
        claim = await chat.accept("go")
        settled = await (chat.fail(claim) if reason == "failed" else chat.stop(claim, stage.reached))
        shown = chat.seen.stream.text
        messages = await chat.messages()
        assert refused(messages) == []
        assert settled.text == shown != ""
        assert said(messages) == shown.rstrip()  # a model's answer must not end in whitespace
        assert sum(message.id == claim.event.id for message in messages) == 1
        assert (await chat.say("again")).text == whole
    assert refused(await chat.messages()) == []


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_cut_off_says_so(mode: CommitMode) -> None:
    stage = Stage()
    chat = Chat(PLACES["speaking"](stage), commit=mode)
    settled = await chat.stop(await chat.accept("go"), stage.reached)
    *_, last = await chat.messages()
    assert (settled.text, last.content) == ("Half of it ", "Half of it")
    assert last.response_metadata["stop_reason"] == "cancelled"
    assert last.id == chat.seen.chunks[0][0]


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_node_made_of_its_words_is_in_the_state_and_not_put_before_who_stopped_it(
    mode: CommitMode, store: Store
) -> None:
    stage, speak = Stage(), model_node(lambda messages: "Tea.")

    async def rewrites(state: dict[str, Any]) -> dict[str, Any]:
        (message,) = (await speak(state))["messages"]
        return {"messages": [message.model_copy(update={"content": "Better: tea."})]}

    async def waits(state: dict[str, Any]) -> dict[str, Any]:
        await stage.stop()
        return {}

    chat = Chat(chain(("tell", rewrites), ("wait", waits)), store=store, commit=mode)
    settled = await chat.stop(await chat.accept("go"), stage.reached)
    assert settled.text == chat.seen.stream.text == "Tea."
    assert said(await chat.messages()) == ("Better: tea." if mode is CommitMode.SUPERSTEP else "Tea.")


async def test_an_event_that_came_to_nothing_is_not_in_the_state() -> None:
    stage = Stage()
    chat = Chat(loop(stage, lambda messages: "|Nothing yet.", tool_node(stage)).compile())
    await chat.stop(await chat.accept("first"), stage.reached)
    assert await chat.messages() == []
    await chat.say("second")
    before = await chat.messages()
    stage.reached.clear()
    stage.stops = 1
    settled = await chat.stop(await chat.accept("third"), stage.reached)
    assert (settled.state, settled.text) == (StateChange(), "")
    assert await chat.messages() == before


async def test_an_answer_that_was_complete_but_never_committed_is_kept() -> None:
    """A cancel that meets the finishing commit: the last superstep is lost, its text was shown under the key of the
    stream's completion."""
    chat = Chat(chain(("plan", model_node(lambda messages: "plan")), ("tell", lambda state: {"messages": ["told"]})))
    claim = await chat.accept("go")
    attempt = await chat.begun(claim)
    answer = await chat.agent.run(attempt)
    attempt.stream.complete("plan\n\nand told", f"{claim.event.id}:rest")
    settled = await chat.settle(attempt, "cancelled")
    assert answer.text == "plan"
    assert settled.text == "plan\n\nand told"
    assert [(kind, text) for kind, text in await chat.spoken()][1:] == [("ai", "plan"), ("ai", "and told")]


@pytest.mark.parametrize(
    ("shown", "held", "missing"),
    [
        ([("a", "one")], [("a", "one")], []),
        ([("a", "on")], [("a", "one, rewritten")], []),
        ([("run-1", "one")], [("a", "one")], []),
        ([("run-1", "one"), ("run-2", "tw")], [("a", "one")], [("run-2", "tw")]),
        ([("a", "one"), ("run-2", "one")], [("a", "one")], [("run-2", "one")]),
        ([("run-1", "yes"), ("run-2", "yes")], [("a", "yes")], [("run-2", "yes")]),
        ([("a", "one"), ("e:rest", "\n\ntwo\n\nthree")], [("a", "one"), ("b", "two"), ("c", "three")], []),
    ],
)
async def test_no_text_is_put_in_twice_whatever_id_it_was_streamed_under(
    shown: list[tuple[str, str]], held: list[tuple[str, str]], missing: list[tuple[str, str]]
) -> None:
    assert unsaid(shown, [AIMessage(text, id=message_id) for message_id, text in held]) == missing


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("names", [("ask_slowly",), ("quick", "ask_slowly")])
async def test_a_cancelled_answer_to_a_question_closes_the_call_that_asked(
    mode: CommitMode, names: tuple[str, ...], store: Store
) -> None:
    stage = Stage()
    chat = Chat(loop(stage, using(*names), tool_node(stage)).compile(), store=store, commit=mode)
    (question,) = (await chat.say("go")).questions
    await chat.stop(await chat.accept(reply(question.interrupt_id, "yes")), stage.reached)
    # Nothing was shown and nothing committed: the question is open still.
    answer = await chat.say(reply(question.interrupt_id, "yes"))
    assert (answer.text, answer.questions) == ("All done.", ())
    assert refused(await chat.messages()) == []


@pytest.mark.parametrize("mode", MODES)
async def test_words_of_a_cancelled_answer_to_a_question_stay_and_its_call_has_a_result(
    mode: CommitMode, store: Store
) -> None:
    stage = Stage()
    script = using("ask", after="As you | like.")
    chat = Chat(loop(stage, script, tool_node(stage)).compile(), store=store, commit=mode)
    (question,) = (await chat.say("go")).questions
    settled = await chat.stop(await chat.accept(reply(question.interrupt_id, "yes")), stage.reached)
    assert settled.text == "As you "
    messages = await chat.messages()
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert refused(messages) == []
    with pytest.raises(QuestionClosed):
        await chat.say(reply(question.interrupt_id, "yes"))
    await chat.revert(await chat.reclaim())
    assert (await chat.say("next")).questions != ()


@pytest.mark.parametrize("mode", MODES)
async def test_a_message_instead_of_an_answer_keeps_what_the_other_tool_found(mode: CommitMode, store: Store) -> None:
    chat = Chat(in_a_tool_of_its_own_task(Stage(stops=0), "quick", "ask"), store=store, commit=mode)
    await chat.say("go")
    await chat.say("never mind")
    messages = (await chat.messages())[:4]
    assert refused(messages) == []
    results = [(message.name, message.status) for message in messages if isinstance(message, ToolMessage)]
    assert sorted(results) == [("ask", "error"), ("quick", "success")]


@pytest.mark.parametrize("checkpointer", [None, True], ids=["anew", "remembering"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_question_inside_a_subgraph_can_be_passed_over_too(
    mode: CommitMode, checkpointer: bool | None, store: Store
) -> None:
    """A subgraph that remembers has a history of its own, which its model is given in every later turn."""
    chat = Chat(in_a_subgraph(Stage(stops=0), using("ask"), checkpointer=checkpointer), store=store, commit=mode)
    await chat.say("go")
    (question,) = (await chat.say("never mind")).questions
    assert (await chat.say(reply(question.interrupt_id, "yes"))).text.endswith("All done.")
    assert refused(await chat.messages()) == []


@pytest.mark.parametrize("checkpointer", [None, True], ids=["anew", "remembering"])
@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_cancelled_inside_a_subgraph_can_be_given_again_or_not(
    mode: CommitMode, checkpointer: bool | None, store: Store
) -> None:
    """Nothing of a subgraph is shown before it is complete: its question is open as before."""
    stage = Stage(stops=0)
    graph = in_a_subgraph(stage, using("ask", after="As you | like."), checkpointer=checkpointer)
    chat = Chat(graph, store=store, commit=mode)
    (question,) = (await chat.say("go")).questions
    stage.stops = 2
    for _ in range(2):
        stage.reached.clear()
        settled = await chat.stop(await chat.accept(reply(question.interrupt_id, "yes")), stage.reached)
        assert (settled.state, settled.text) == (StateChange(), "")
    (question,) = (await chat.say("again")).questions
    assert (await chat.say(reply(question.interrupt_id, "yes"))).text.endswith("like.")
    assert refused(await chat.messages()) == []
