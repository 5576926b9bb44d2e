"""What of a model's stream is the attempt's text (protocol, rule 2)."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.func import task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from tests.langgraph.driving import Chat
from tests.langgraph.scripted import ScriptedModel, chain, echo, model_node

pytestmark = pytest.mark.asyncio

CLASSIFIER = ScriptedModel(script=lambda _: "this is small talk")


async def test_a_node_that_only_invokes_its_model_streams_word_by_word() -> None:
    chat = Chat(chain(("answer", model_node())))
    answer = await chat.say("one two three")
    assert [chunk for _, chunk in chat.seen.chunks] == ["you", " said", " one", " two", " three"]
    assert answer.text == chat.seen.stream.text == "you said one two three"


async def test_a_node_that_is_a_plain_function_streams_in_order() -> None:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [ScriptedModel(script=echo).invoke(state["messages"])]}

    chat = Chat(chain(("answer", answer)))
    said = await chat.say(" ".join(str(number) for number in range(200)))
    assert len(chat.seen.chunks) == 202
    assert chat.seen.stream.text == said.text


async def test_a_trailing_empty_chunk_under_another_id_does_not_begin_a_message() -> None:
    chat = Chat(chain(("answer", model_node(provider_id="chatcmpl-1"))))
    answer = await chat.say("hello")
    assert {message_id for message_id, _ in chat.seen.chunks} == {"chatcmpl-1"}
    assert chat.seen.stream.text == answer.text
    assert answer.content[0]["id"] == "chatcmpl-1"


async def test_reasoning_is_not_streamed_and_not_part_of_the_answer() -> None:
    blocks: list[str | dict[Any, Any]] = [
        {"type": "reasoning", "reasoning": "let me see", "text": "let me see"},
        {"type": "text", "text": "four"},
    ]
    chat = Chat(chain(("answer", model_node(lambda _: AIMessage(blocks)))))
    answer = await chat.say("2 + 2")
    assert answer.text == chat.seen.stream.text == "four"
    assert answer.content[0]["content"][0]["type"] == "reasoning"


async def test_a_model_tagged_nostream_is_shown_when_its_node_is_done() -> None:
    model = ScriptedModel(script=echo).with_config(tags=["nostream"])

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    chat = Chat(chain(("answer", answer)))
    answer_ = await chat.say("one two")
    assert [chunk for _, chunk in chat.seen.chunks] == ["you said one two"]
    assert chat.seen.stream.text == answer_.text


async def test_a_node_without_a_model_is_shown_when_it_is_done() -> None:
    async def canned(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("We are closed.")]}

    chat = Chat(chain(("answer", model_node()), ("canned", canned)))
    answer = await chat.say("open?")
    assert chat.seen.stream.text == answer.text == "you said open?\n\nWe are closed."


async def test_tokens_of_a_model_without_streaming_come_as_one() -> None:
    chat = Chat(chain(("answer", model_node(disable_streaming=True))))
    answer = await chat.say("one two")
    assert chat.seen.stream.text == answer.text == "you said one two"


async def classify(state: MessagesState) -> dict[str, Any]:
    await CLASSIFIER.ainvoke(state["messages"])
    return {}


async def test_the_final_answer_leaves_out_a_classifier_even_when_its_words_were_shown() -> None:
    chat = Chat(chain(("classify", classify), ("answer", model_node())))
    answer = await chat.say("hi")
    assert answer.text == "you said hi"


async def test_a_classifier_that_was_seen_once_is_not_shown_again() -> None:
    chat = Chat(chain(("classify", classify), ("answer", model_node())))
    await chat.say("hi")
    for text in ("two", "three"):
        answer = await chat.say(text)
        assert chat.seen.stream.text == answer.text == f"you said {text}"


async def test_a_classifier_and_an_answer_in_one_node_are_told_apart() -> None:
    async def both(state: MessagesState) -> dict[str, Any]:
        await CLASSIFIER.ainvoke(state["messages"])
        return {"messages": [await ScriptedModel(script=echo).ainvoke(state["messages"])]}

    chat = Chat(chain(("both", both)))
    await chat.say("hi")
    answer = await chat.say("two words")
    assert chat.seen.stream.text == answer.text == "you said two words"
    assert len(chat.seen.chunks) > 1


async def test_structured_output_is_never_shown() -> None:
    class Kind(TypedDict):
        kind: str

    call = {"name": "Kind", "args": {"kind": "small talk"}, "id": "call-1"}
    chooser = ScriptedModel(script=lambda _: AIMessage("choosing", tool_calls=[call])).with_structured_output(Kind)

    async def choose(state: MessagesState) -> dict[str, Any]:
        await chooser.ainvoke(state["messages"])
        return {}

    chat = Chat(chain(("choose", choose), ("answer", model_node())))
    answer = await chat.say("hi")
    assert chat.seen.stream.text == answer.text == "you said hi"


async def test_a_rewritten_answer_is_shown_once_and_final_as_the_state_has_it() -> None:
    async def shout(state: MessagesState) -> dict[str, Any]:
        said = await ScriptedModel(script=echo).ainvoke(state["messages"])
        return {"messages": [AIMessage(str(said.content).upper())]}

    chat = Chat(chain(("shout", shout)))
    for text in ("one", "two"):
        answer = await chat.say(text)
        assert answer.text == f"YOU SAID {text.upper()}"
        assert chat.seen.stream.text == f"you said {text}"


async def test_a_subgraphs_models_do_not_stream_but_its_messages_are_shown() -> None:
    inner = chain(("think", model_node(lambda _: "inner thoughts")), ("say", model_node(lambda _: "inner words")))
    chat = Chat(chain(("expert", inner), ("answer", model_node(lambda _: "outer words"))))
    answer = await chat.say("hi")
    assert chat.seen.stream.text == answer.text == "inner thoughts\n\ninner words\n\nouter words"
    assert [chunk for _, chunk in chat.seen.chunks][:2] == ["inner thoughts", "inner words"]


async def test_a_model_inside_a_task_of_a_root_node_streams() -> None:
    @task
    async def compose(messages: list[BaseMessage]) -> BaseMessage:
        return await ScriptedModel(script=echo).ainvoke(messages)

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await compose(list(state["messages"]))]}

    chat = Chat(chain(("answer", answer)))
    for text in ("one two", "three four"):
        said = await chat.say(text)
        assert [chunk for _, chunk in chat.seen.chunks] == ["you", " said", *[f" {word}" for word in text.split()]]
        assert chat.seen.stream.text == said.text


async def test_parallel_writers_do_not_mix_in_the_text() -> None:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    for name in ("left", "right"):
        builder.add_node(name, model_node(lambda _, name=name: f"{name} {name} {name}"))  # type: ignore[misc]
        builder.add_edge(START, name)
        builder.add_edge(name, END)
    chat = Chat(builder.compile())
    answer = await chat.say("go")
    assert set(chat.seen.stream.text.split("\n\n")) == {"left left left", "right right right"}
    assert sorted(answer.text.split("\n\n")) == ["left left left", "right right right"]


@tool
async def weigh(thing: str) -> str:
    """Weigh a thing."""
    verdict = await ScriptedModel(script=lambda _: "the scales say: ").ainvoke("scales")
    if thing == "nothing":
        raise ValueError("there is nothing on the scales, password=hunter2")
    return f"{verdict.content}7 kg"


def weigher(thing: str) -> Any:
    def script(messages: list[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(f"It is {messages[-1].content}.")
        return AIMessage("One moment.", tool_calls=[{"name": "weigh", "args": {"thing": thing}, "id": f"call-{thing}"}])

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    builder.add_node("agent", model_node(script))
    builder.add_node("tools", ToolNode([weigh], handle_tool_errors=lambda error: "the scales are broken"))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    builder.add_edge("tools", "agent")
    return builder.compile()


async def test_a_tool_is_shown_beside_the_text_and_what_it_says_is_not_in_it() -> None:
    chat = Chat(weigher("cat"))
    answer = await chat.say("how heavy?")
    assert chat.seen.stream.text == answer.text == "One moment.\n\nIt is the scales say: 7 kg."
    steps = [(step.tool_call_id, step.name, step.phase, step.data) for step in chat.seen.tools]
    assert steps == [
        ("call-cat", "weigh", "started", '{"thing":"cat"}'),
        ("call-cat", "weigh", "finished", "the scales say: 7 kg"),
    ]
    assert {step.namespace for step in chat.seen.tools} == {()}
    roles = [message["role"] for message in answer.content]
    assert roles == ["assistant", "tool", "assistant"]
    assert answer.content[0]["tool_calls"][0]["id"] == answer.content[1]["tool_call_id"] == "call-cat"


async def test_a_tool_of_a_subgraph_is_shown_with_the_subgraph_and_changes_no_text() -> None:
    within: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    within.add_node("scales", weigher("cat"))
    within.add_edge(START, "scales")
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    outer.add_node("ask", within.compile())
    outer.add_node("say", model_node(lambda _: "There."))
    outer.add_edge(START, "ask")
    outer.add_edge("ask", "say")
    chat = Chat(outer.compile())
    answer = await chat.say("how heavy?")
    steps = [
        ([step.partition(":")[0] for step in tool.namespace], tool.tool_call_id, tool.phase) for tool in chat.seen.tools
    ]
    assert steps == [(["ask", "scales"], "call-cat", "started"), (["ask", "scales"], "call-cat", "finished")]
    assert chat.seen.stream.text == answer.text == "One moment.\n\nIt is the scales say: 7 kg.\n\nThere."


async def test_a_failing_tool_is_shown_as_failed_without_its_message() -> None:
    chat = Chat(weigher("nothing"))
    await chat.say("how heavy?")
    assert [step.phase for step in chat.seen.tools] == ["started", "failed"]
    assert "hunter2" not in str(chat.seen.tools)


async def test_after_the_gate_closed_nothing_is_shown() -> None:
    chat = Chat(chain(("answer", model_node())))
    attempt = chat.attempt(await chat.accept("one two three"))
    text = attempt.text

    def close_after_two(message_id: str, chunk: str) -> None:
        text(message_id, chunk)
        if len(attempt.chunks) == 2:
            attempt.gate.close("cancelled")

    attempt.text = close_after_two  # type: ignore[method-assign]
    with pytest.raises(Exception, match="this attempt has ended"):
        await chat.agent.run(attempt)
    assert attempt.stream.text == "you said"
