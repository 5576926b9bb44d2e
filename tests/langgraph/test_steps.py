"""What a run shows beside its answer's text; LangGraph's own streams are the oracle for what a rich run records."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterable
from contextvars import copy_context
from datetime import date
from typing import Any

import pytest
from langchain_core.language_models._compat_bridge import message_to_events
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.types import Send

from tests.langgraph.driving import Chat
from tests.langgraph.scripted import ScriptedModel, chain, model_node
from unbroken.adapters.langgraph import token_tap
from unbroken.adapters.langgraph.history import Graph
from unbroken.domain.errors import AgentRaised
from unbroken.domain.events import RunStart

pytestmark = pytest.mark.asyncio

INPUT = {"messages": [{"role": "user", "content": "hi", "id": "said"}]}
ORACLE_WARNS = "ignore:The v3 streaming protocol"


@tool
def look(place: str, runtime: ToolRuntime) -> str:
    """Look somewhere."""
    get_stream_writer()({"looking": place})
    runtime.emit_output_delta("nothing")
    return f"nothing in {place}"


def ask_and_answer(messages: list[BaseMessage]) -> AIMessage:
    if messages[-1].type == "human":
        return AIMessage("Let me see.", tool_calls=[{"name": "look", "args": {"place": "box"}, "id": "call-1"}])
    blocks: list[str | dict[Any, Any]] = [
        {"type": "reasoning", "reasoning": "nothing, then"},
        {"type": "text", "text": "It is "},
        {"type": "text", "text": "empty."},
    ]
    return AIMessage(blocks)


def writes(value: Any) -> Any:
    def node(state: MessagesState) -> dict[str, Any]:
        get_stream_writer()(value)
        return {}

    return node


async def canned(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Whole.", id="canned")]}


INNER = chain(("think", model_node(lambda _: "within words")), ("write", writes("deep")), ("canned", canned))
TOOLS = chain(("ask", model_node(ask_and_answer)), ("tools", ToolNode([look])), ("say", model_node(ask_and_answer)))


def nested() -> Graph:
    async def calls(state: MessagesState) -> dict[str, Any]:
        await INNER.ainvoke({"messages": state["messages"]})
        return {}

    return chain(("write", writes({"n": 1})), ("inner", chain(("inmost", INNER))), ("calls", calls))


def fan() -> Graph:
    async def answer(state: Any) -> dict[str, Any]:
        model = ScriptedModel(script=lambda _: f"part {state['n']} of it", provider_id=f"m{state['n']}")
        return {"messages": [await model.ainvoke("go")]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_conditional_edges(START, lambda _: [Send("answer", {"n": n}) for n in range(3)])
    builder.add_edge("answer", END)
    return builder.compile()


def usage_and_kwargs() -> Graph:
    usage = UsageMetadata(input_tokens=3, output_tokens=4, total_tokens=7)
    model = ScriptedModel(script=lambda _: "two words", usage=usage, provider_id="chatcmpl-1")

    async def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return chain(("one", node), ("whole", canned), ("silent", model_node(lambda _: "x", disable_streaming=True)))


GRAPHS = {
    "tools": TOOLS,
    "nested": nested(),
    "fan": fan(),
    "usage": usage_and_kwargs(),
    "no model": chain(("c", canned)),
}


async def rich(graph: Graph) -> list[tuple[str, tuple[str, ...], Any]]:
    chat = Chat(graph)
    await chat.say(RunStart(input=INPUT, rich=True))
    return chat.seen.steps


def normal(steps: Iterable[Any]) -> list[Any]:
    """Ids that each run makes anew, numbered as they come."""
    numbers: dict[str, str] = {}
    ids = r"(lc_run--)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    text = json.dumps(list(steps), default=_plain)
    return list(json.loads(re.sub(ids, lambda found: numbers.setdefault(found[0], f"id-{len(numbers)}"), text)))


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)


@pytest.mark.filterwarnings(ORACLE_WARNS)
@pytest.mark.parametrize("name", GRAPHS)
async def test_messages_of_a_rich_run_are_langgraphs_content_block_events(name: str) -> None:
    ours = [
        (namespace, {key: value for key, value in event.items() if key not in ("run_id", "message_id")})
        for method, namespace, event in await rich(GRAPHS[name])
        if method == "messages"
    ]
    theirs: list[tuple[Any, dict[str, Any]]] = []
    stream = await GRAPHS[name].astream_events(INPUT, version="v3")
    async for event in stream:
        if event["method"] == "messages":
            said, _ = event["params"]["data"]
            if isinstance(said, dict):
                theirs.append((event["params"]["namespace"], said))
            elif isinstance(said, AIMessage):  # which its own projection turns into events
                theirs += [(event["params"]["namespace"], dict(one)) for one in message_to_events(said)]
    for events in (ours, theirs):
        for _, told in events:
            if told["event"] == "message-start":
                told.pop("metadata", None)
                told.pop("id")  # LangGraph's way of streaming has no use for a provider's own
    if name == "fan":  # whose tasks run side by side, in no order
        assert sorted(map(str, normal(ours))) == sorted(map(str, normal(theirs)))
    else:
        assert normal(ours) == normal(theirs)
    assert ours


@pytest.mark.parametrize("name", GRAPHS)
async def test_a_rich_run_records_what_langgraphs_stream_modes_yield(name: str) -> None:
    modes: Any = ["values", "updates", "tasks", "custom", "tools"]
    ours = [step for step in await rich(GRAPHS[name]) if step[0] in modes]
    theirs = [
        (mode, namespace, said)
        async for namespace, mode, said in GRAPHS[name].astream(INPUT, stream_mode=modes, subgraphs=True)
    ]
    one, other = normal(ours), normal(theirs)
    for method, _, said in (*one, *other):
        if method == "tasks":
            said.pop("metadata", None)
        elif method == "tools" and "output" in said:
            said["output"].pop("id")  # given by the state later, and then seen in what the oracle still holds
    if name == "fan":
        one, other = sorted(one, key=str), sorted(other, key=str)
        assert len(one) == len(other)
    else:
        assert one == other


async def test_checkpoints_of_a_rich_run_are_those_of_every_graph_in_it() -> None:
    chat = Chat(nested())
    await chat.say(RunStart(input=INPUT, rich=True))
    told = [(namespace, said) for method, namespace, said in chat.seen.steps if method == "checkpoints"]
    roots = [said for namespace, said in told if not namespace]
    assert [one["next"] for one in roots] == [["__start__"], ["write"], ["inner"], ["calls"], []]
    assert [one["metadata"]["source"] for one in roots] == ["input", *["loop"] * 4]
    assert {len(namespace) for namespace, _ in told} == {0, 1, 2}
    head = await chat.store.checkpoints.load(chat.key.thread_id, "", None)
    assert head is not None
    assert roots[-1]["config"]["configurable"]["checkpoint_id"] == head.row.checkpoint_id


async def test_a_tools_calls_are_told_from_their_start_to_their_end() -> None:
    told = [said["event"] for method, _, said in await rich(TOOLS) if method == "tools"]
    assert told == ["tool-started", "tool-output-delta", "tool-finished"]


async def test_messages_of_tasks_side_by_side_are_told_apart() -> None:
    texts: dict[str, str] = {}
    for method, _, event in await rich(fan()):
        if method == "messages" and event["event"] == "content-block-delta":
            texts[event["message_id"]] = texts.get(event["message_id"], "") + event["delta"]["text"]
    assert texts == {f"m{n}": f"part {n} of it" for n in range(3)}


async def test_a_message_has_the_same_id_where_it_is_streamed_and_in_the_state() -> None:
    chat = Chat(usage_and_kwargs())
    await chat.say(RunStart(input=INPUT, rich=True))
    told = [event["id"] for method, _, event in chat.seen.steps if method == "messages" and "role" in event]
    assert told == [message.id for message in await chat.messages() if message.type == "ai"]


async def test_who_said_a_message_is_told_at_its_start() -> None:
    starts = [event for method, _, event in await rich(TOOLS) if method == "messages" and "role" in event]
    assert [event["metadata"]["langgraph_node"] for event in starts] == ["ask", "say"]
    assert all(event["run_id"] in event["id"] for event in starts)


async def test_custom_data_is_shown_from_any_depth_and_thread_of_a_plain_message() -> None:
    chat = Chat(nested())
    await chat.say("hi")
    told = [
        ([step.partition(":")[0] for step in namespace], said)
        for method, namespace, said in chat.seen.steps
        if method == "custom"
    ]
    assert told == [([], {"n": 1}), (["inner", "inmost"], "deep"), (["calls"], "deep")]


async def test_a_tool_may_write_while_it_works() -> None:
    chat = Chat(TOOLS)
    await chat.say("hi")
    assert ("custom", (), {"looking": "box"}) in chat.seen.steps
    place = next(part.offset for part in chat.seen.stream.parts if getattr(part, "method", "") == "custom")
    assert place == len("Let me see.")


@pytest.mark.parametrize(
    ("written", "shown"),
    [(date(2026, 1, 2), "2026-01-02"), ("a\0b", "a�b"), ({1: object}, {"1": "<class 'object'>"}), (None, None)],
)
async def test_whatever_is_written_is_shown_as_json(written: Any, shown: Any) -> None:
    chat = Chat(chain(("write", writes(written))))
    await chat.say("hi")
    assert chat.seen.steps == [("custom", (), shown)]


async def test_what_cannot_be_shown_is_left_out_and_fails_nobody() -> None:
    class Sullen:
        def __str__(self) -> str:
            raise RuntimeError("no")

    chat = Chat(chain(("write", writes(Sullen())), ("say", model_node())))
    assert (await chat.say("hi")).text == "you said hi"
    assert chat.seen.steps == []


async def test_what_a_subgraph_says_is_an_aside_until_it_is_the_answer() -> None:
    chat = Chat(chain(("inner", INNER)))
    answer = await chat.say("hi")
    asides = [said for method, _, said in chat.seen.steps if method == "aside"]
    assert "".join(said["text"] for said in asides) == "within words"
    assert {said["messageId"] for said in asides} == {answer.content[0]["id"]}
    assert answer.text == chat.seen.stream.text == "within words\n\nWhole."


class Reasoner(ScriptedModel):
    """Thinks in the field that several providers use."""

    def _chunks(self, messages: list[BaseMessage]) -> Any:
        for piece in ("first ", "then"):
            said = AIMessageChunk(content="", additional_kwargs={"reasoning_content": piece}, id="thinker")
            yield ChatGenerationChunk(message=said)
        yield from super()._chunks(messages)


async def test_reasoning_is_shown_beside_the_text_whatever_form_it_comes_in() -> None:
    chat = Chat(TOOLS)
    answer = await chat.say("hi")
    (said,) = [said for method, _, said in chat.seen.steps if method == "reasoning"]
    assert said == {"messageId": answer.content[-1]["id"], "text": "nothing, then"}
    assert answer.text == chat.seen.stream.text == "Let me see.\n\nIt is empty."

    async def think(state: MessagesState) -> dict[str, Any]:
        model = Reasoner(script=lambda _: "well", provider_id="thinker")
        return {"messages": [await model.ainvoke(state["messages"])]}

    chat = Chat(chain(("think", think)))
    answer = await chat.say("hi")
    assert chat.seen.steps == [("reasoning", (), {"messageId": "thinker", "text": "first then"})]
    assert answer.content[0]["id"] == "thinker"
    assert answer.text == "well"


async def test_only_what_may_hold_a_thought_is_taken_apart_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    def take_apart(message: BaseMessage) -> str:
        taken.append(message.content)
        return ""

    monkeypatch.setattr(token_tap, "reasoning_of", take_apart)
    for chat in (Chat(chain(("say", model_node()))), Chat(TOOLS)):
        await chat.say("one two three")
    assert taken == [[{"type": "reasoning", "reasoning": "nothing, then"}]]


async def test_a_graph_that_says_nothing_else_shows_nothing_else() -> None:
    chat = Chat(chain(("say", model_node())))
    await chat.say("one two three")
    assert chat.seen.steps == []


async def test_who_writes_after_the_end_is_not_heard() -> None:
    late: list[threading.Timer] = []
    released = threading.Event()

    def node(state: MessagesState) -> dict[str, Any]:
        writer = get_stream_writer()
        context = copy_context()
        late.append(threading.Timer(0, lambda: released.wait(10) and context.run(writer, "late")))
        late[0].start()
        return {}

    chat = Chat(chain(("node", node)))
    claim = await chat.accept("hi")
    attempt = await chat.begun(claim)
    await chat.agent.run(attempt)
    attempt.gate.close("finished")
    released.set()
    await asyncio.to_thread(late[0].join, 10)
    await asyncio.sleep(0)
    assert attempt.steps == []


async def test_a_model_that_breaks_off_says_so_where_it_was_streamed() -> None:
    class Broken(ScriptedModel):
        def _chunks(self, messages: list[BaseMessage]) -> Any:
            yield ChatGenerationChunk(message=AIMessageChunk(content="half ", id="half"))
            raise ValueError("the line is dead")

    async def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await Broken(script=lambda _: "").ainvoke(state["messages"])]}

    chat = Chat(chain(("node", node)))
    attempt = await chat.begun(await chat.accept(RunStart(input=INPUT, rich=True)))
    with pytest.raises(AgentRaised):
        await chat.agent.run(attempt)
    events = [said["event"] for method, _, said in attempt.steps if method == "messages"]
    assert events == ["message-start", "content-block-start", "content-block-delta", "error"]
