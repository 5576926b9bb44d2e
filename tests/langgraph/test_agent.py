"""From an event to an answer, and from a failure to a line that a user may read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk
from langgraph.graph import END, START, MessagesState, StateGraph

from tests.langgraph.driving import Chat, ObservedAttempt, Store, reply
from tests.langgraph.scripted import ScriptedModel, chain, echo, model_node
from unbroken.adapters.langgraph.checkpoint_ids import ticks
from unbroken.domain.errors import AgentRaised, Fenced, QuestionClosed
from unbroken.domain.events import TimerFired, UserMessage
from unbroken.domain.policy import CommitMode
from unbroken.domain.utf16 import well_formed

pytestmark = pytest.mark.asyncio


async def test_the_message_in_the_state_has_the_events_id() -> None:
    chat = Chat(chain(("answer", model_node())))
    claim = await chat.accept("hello")
    await chat.run(claim)
    first = (await chat.messages())[0]
    assert (first.type, first.id, first.content) == ("human", claim.event.id, "hello")


async def test_content_blocks_reach_the_model_as_they_are() -> None:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": "what is this?"}, {"type": "image", "url": "http://x/y"}]
    chat = Chat(chain(("answer", model_node(lambda messages: str(len(messages[-1].content))))))
    answer = await chat.say(UserMessage(blocks))
    assert answer.text == "2"
    assert (await chat.messages())[0].content == blocks


async def test_a_fired_timer_is_a_message_that_says_so() -> None:
    chat = Chat(chain(("answer", model_node(lambda messages: f"{messages[-1].name}: {messages[-1].content}"))))
    claim = await chat.accept("hi")
    timer = msgspec.structs.replace(claim.event, body=TimerFired("tea", 3, {"cups": 2}))
    answer = await chat.run(msgspec.structs.replace(claim, event=timer))
    assert answer.text == 'timer: (A timer that was set earlier has fired: {"cups":2})'
    message = (await chat.messages())[0]
    assert message.id == claim.event.id
    assert message.additional_kwargs == {"timer_id": "tea", "generation": 3, "payload": {"cups": 2}}


async def test_only_what_this_event_added_is_its_answer() -> None:
    chat = Chat(chain(("answer", model_node())))
    await chat.say("one")
    answer = await chat.say("two")
    assert answer.text == "you said two"
    assert [message["content"] for message in answer.content] == ["you said two"]


async def test_token_usage_is_summed_over_the_events_messages() -> None:
    usage = UsageMetadata(input_tokens=3, output_tokens=5, total_tokens=8)
    chat = Chat(chain(("a", model_node(usage=usage)), ("b", model_node(usage=usage))))
    answer = await chat.say("hi")
    assert answer.token_usage == {"input_tokens": 6, "output_tokens": 10, "total_tokens": 16}
    assert (await Chat(chain(("a", model_node()))).say("hi")).token_usage is None


class Stuttering(ScriptedModel):
    """Emits what jsonb, msgpack and UTF-8 refuse, a surrogate pair torn over two chunks among it."""

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for piece in ("nul\x00 half\ud800 pair\ud83d", "\ude00 end\udc00"):
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))


@pytest.mark.parametrize("mode", list(CommitMode))
async def test_a_model_that_emits_broken_text_does_not_cost_the_answer(mode: CommitMode) -> None:
    async def stutter(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await Stuttering(script=echo).ainvoke(state["messages"])]}

    chat = Chat(chain(("stutter", stutter), ("answer", model_node(lambda _: "fine"))), commit=mode)
    answer = await chat.say("hi")
    assert answer.text == "nul\ufffd half\ufffd pair\U0001f600 end\ufffd\n\nfine"
    assert chat.seen.stream.text == answer.text
    assert msgspec.json.encode(answer.content)
    stored = (await chat.messages())[1].content
    assert isinstance(stored, str)
    assert well_formed(stored) == "nul\ufffd half\ufffd pair\U0001f600 end\ufffd"
    assert (await chat.say("again")).text


@pytest.mark.parametrize(
    ("topic", "stored"), [("a\x00b", "a\ufffdb"), ("a\ud800b", "a\ufffdb"), ("\\u0000", "\\u0000")]
)
async def test_broken_text_in_a_primitive_channel_is_committable(store: Store, topic: str, stored: str) -> None:
    class State(MessagesState):
        topic: str

    async def node(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("ok")], "topic": topic}

    chat = Chat(chain(("node", node), state=State), store=store)
    await chat.say("hi")
    assert (await chat.values())["topic"] == stored


async def test_a_server_that_gives_every_message_the_same_id_still_answers() -> None:
    chat = Chat(chain(("answer", model_node(provider_id="chatcmpl-0"))))
    await chat.say("one")
    answer = await chat.say("two")
    assert chat.seen.stream.text == answer.text == "you said two"


async def test_a_plain_function_may_call_a_subgraph_that_remembers(store: Store) -> None:
    """It reads and writes state from another thread, while the loop goes on."""

    async def note(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("noted")]}

    def note_plainly(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("noted")]}

    memory = chain(("note", note_plainly), checkpointer=True)

    def remember(state: MessagesState) -> dict[str, Any]:
        kept = memory.invoke({"messages": [HumanMessage("again")]})
        return {"messages": [AIMessage(f"{len(kept['messages'])} kept")]}

    chat = Chat(chain(("remember", remember), ("note", note)), store=store)
    assert [(await chat.say("go")).text for _ in range(3)] == [f"{2 * n} kept\n\nnoted" for n in (1, 2, 3)]


def failing(error: Exception) -> Chat:
    async def node(state: MessagesState) -> dict[str, Any]:
        raise error

    return Chat(chain(("node", node)))


REQUEST: Any = httpx.Request("POST", "http://model.invalid/v1/chat")


def status(kind: type[openai.APIStatusError], code: int) -> openai.APIStatusError:
    response: Any = httpx.Response(code, request=REQUEST)
    return kind("no", response=response, body=None)


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (openai.APIConnectionError(request=REQUEST), True),
        (openai.APITimeoutError(request=REQUEST), True),
        (status(openai.RateLimitError, 429), True),
        (status(openai.InternalServerError, 500), True),
        (status(openai.AuthenticationError, 401), False),
        (status(openai.BadRequestError, 400), False),
        (httpx.ReadTimeout("slow"), True),
        (httpx.HTTPStatusError("no", request=REQUEST, response=httpx.Response(503, request=REQUEST)), True),
        (httpx.HTTPStatusError("no", request=REQUEST, response=httpx.Response(404, request=REQUEST)), False),
        (ConnectionResetError("reset"), True),
        (TimeoutError(), True),
        (ValueError("a bug"), False),
        (KeyError("x"), False),
    ],
)
async def test_only_what_may_pass_by_itself_is_tried_again(error: Exception, retryable: bool) -> None:
    with pytest.raises(AgentRaised) as raised:
        await failing(error).say("hi")
    assert raised.value.retryable is retryable
    assert str(raised.value).startswith(type(error).__name__)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijkl",
        "Authorization: Bearer abc.def.ghi",
        "api_key=hunter2",
        'token: "hunter2"',
        "postgresql://ann:hunter2@db/x",
    ],
)
async def test_a_failure_says_its_kind_and_first_line_and_no_secret(secret: str) -> None:
    with pytest.raises(AgentRaised) as raised:
        await failing(RuntimeError(f"could not connect, {secret} refused\n  File traceback.py")).say("hi")
    told = str(raised.value)
    assert told.startswith("RuntimeError: could not connect")
    assert "\n" not in told
    assert not any(word in told for word in ("hunter2", "abc.def", "abcdefghijkl", "traceback"))


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("even this fails")


async def test_an_exception_that_cannot_say_what_it_is_about_still_ends_the_turn() -> None:
    with pytest.raises(AgentRaised, match=r"^Mute$") as raised:
        await failing(Mute()).say("hi")
    assert not raised.value.retryable


async def test_a_graph_that_never_ends_fails_in_plain_words() -> None:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    builder.add_node("again", lambda state: {})
    builder.add_edge(START, "again")
    builder.add_conditional_edges("again", lambda state: "again")
    graph = builder.compile().with_config(recursion_limit=5)
    with pytest.raises(AgentRaised, match="reached its limit of steps") as raised:
        await Chat(graph).say("hi")
    assert not raised.value.retryable


async def test_a_closed_gate_ends_the_run_as_fenced_whatever_the_graph_raises() -> None:
    attempts: list[ObservedAttempt] = []

    async def node(state: MessagesState) -> dict[str, Any]:
        attempts[0].gate.close("time is up")
        raise ValueError("because of that")

    chat = Chat(chain(("node", node)))
    attempts.append(chat.attempt(await chat.accept("hi")))
    with pytest.raises(Fenced):
        await chat.agent.run(attempts[0])


async def test_an_attempt_can_be_cancelled_at_any_await() -> None:
    cancelled = 0
    for ticks_ in range(0, 60, 3):
        chat = Chat(chain(("a", model_node()), ("b", model_node())))
        claim = await chat.accept("one two three")
        task = asyncio.ensure_future(chat.agent.run(chat.attempt(claim)))
        for _ in range(ticks_):
            await asyncio.sleep(0)
        if task.done():
            break
        cancelled += 1
        chat.seen.gate.close("cancelled")
        task.cancel()
        with pytest.raises((asyncio.CancelledError, Fenced)):
            await task
        answer = await chat.run(await chat.reclaim())
        assert answer.text == "you said one two three\n\nyou said you said one two three"
    assert cancelled > 10


async def test_checkpoints_sort_after_the_head_they_continue_whatever_the_clock_says() -> None:
    chat = Chat(chain(("answer", model_node())))
    await chat.say("one")
    head = await chat.store.checkpoints.load(chat.key.thread_id, "", None)
    assert head is not None
    ahead = "2" + head.row.checkpoint_id[1:]
    await chat.store.checkpoints.put(
        chat.key.thread_id,
        msgspec.structs.replace(
            (await chat.agent.run(chat.attempt(await chat.accept("lost")))).state,
            checkpoints=(msgspec.structs.replace(head.row, checkpoint_id=ahead),),
            heads=(("", ahead),),
        ),
    )
    await chat.revert(await chat.reclaim())
    answer = await chat.say("two")
    ((_, written),) = answer.state.heads
    assert (ticks(written) or 0) > (ticks(ahead) or 0)
    assert written > ahead


def asking(**options: Any) -> Any:
    """Calls a tool that asks the user inside; or one that stands at a breakpoint."""

    def script(messages: list[BaseMessage]) -> AIMessage:
        if isinstance(messages[-1], HumanMessage) and "book" in str(messages[-1].content):
            return AIMessage("Booking.", tool_calls=[{"name": "book", "args": {}, "id": f"call-{len(messages)}"}])
        return AIMessage(f"seen {','.join(message.type for message in messages)}")

    async def book(state: MessagesState) -> dict[str, Any]:
        from langgraph.types import interrupt

        call = state["messages"][-1].tool_calls[0]  # type: ignore[union-attr]
        verdict = "yes" if options else interrupt({"really": call["id"]})
        return {"messages": [ToolMessage(f"booked: {verdict}", tool_call_id=call["id"])]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
    builder.add_node("agent", model_node(script))
    builder.add_node("book", book)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", lambda state: "book" if state["messages"][-1].tool_calls else END)
    builder.add_edge("book", "agent")
    return builder.compile(**options)


@pytest.mark.parametrize("mode", list(CommitMode))
async def test_an_interrupt_ends_the_turn_with_a_question_and_its_text_so_far(mode: CommitMode) -> None:
    chat = Chat(asking(), commit=mode)
    answer = await chat.say("book it")
    assert answer.text == "Booking."
    (question,) = answer.questions
    assert question.value == {"really": "call-1"}


@pytest.mark.parametrize("mode", list(CommitMode))
async def test_an_answer_to_a_question_goes_on_where_the_graph_asked(mode: CommitMode) -> None:
    chat = Chat(asking(), commit=mode)
    (question,) = (await chat.say("book it")).questions
    answer = await chat.say(reply(question.interrupt_id, "certainly"))
    assert answer.text == "seen human,ai,tool"
    assert answer.questions == ()
    assert [kind for kind, _ in await chat.spoken()] == ["human", "ai", "tool", "ai"]
    with pytest.raises(QuestionClosed):
        await chat.say(reply(question.interrupt_id, "again"))


@pytest.mark.parametrize("mode", list(CommitMode))
async def test_a_message_instead_of_an_answer_leaves_a_history_that_providers_accept(mode: CommitMode) -> None:
    chat = Chat(asking(), commit=mode)
    await chat.say("book it")
    answer = await chat.say("never mind")
    assert answer.text == "seen human,ai,tool,human"
    result = (await chat.messages())[2]
    assert isinstance(result, ToolMessage)
    assert (result.status, result.tool_call_id) == ("error", "call-1")


@pytest.mark.parametrize("options", [{"interrupt_before": ["book"]}, {"interrupt_after": ["agent"]}])
@pytest.mark.parametrize("mode", list(CommitMode))
async def test_a_breakpoint_is_a_question_that_only_true_answers(options: dict[str, Any], mode: CommitMode) -> None:
    chat = Chat(asking(**options), commit=mode)
    (question,) = (await chat.say("book it")).questions
    assert question.value == {"type": "breakpoint", "nodes": ["book"]}
    approved = await chat.say(reply(question.interrupt_id, True))
    assert "tool" in [message["role"] for message in approved.content]


@pytest.mark.parametrize("answer", [False, None, "true", 1, {"ok": True}])
@pytest.mark.parametrize("options", [{"interrupt_before": ["book"]}, {"interrupt_after": ["agent"]}])
@pytest.mark.parametrize("mode", list(CommitMode))
async def test_a_refused_breakpoint_ends_the_turn_and_asks_no_more(
    options: dict[str, Any], mode: CommitMode, answer: Any
) -> None:
    chat = Chat(asking(**options), commit=mode)
    (question,) = (await chat.say("book it")).questions
    refused = await chat.say(reply(question.interrupt_id, answer))
    assert (refused.text, refused.questions) == ("", ())
    result = (await chat.messages())[-1]
    assert isinstance(result, ToolMessage)
    assert (result.status, result.tool_call_id) == ("error", "call-1")
    assert "refused" in str(result.content)
    assert (await chat.say("well then")).text == "seen human,ai,tool,human"
    with pytest.raises(QuestionClosed):
        await chat.say(reply(question.interrupt_id, True))


@pytest.mark.parametrize("options", [{"interrupt_before": ["book"]}, {"interrupt_after": ["agent"]}])
async def test_a_crash_at_a_breakpoint_does_not_approve_it(options: dict[str, Any]) -> None:
    chat = Chat(asking(**options))
    await chat.agent.run(chat.attempt(await chat.accept("book it")))  # dies before its finishing commit
    answer = await chat.run(await chat.reclaim())
    assert [kind for kind, _ in await chat.spoken()] == ["human", "ai"]
    assert len(answer.questions) == 1
