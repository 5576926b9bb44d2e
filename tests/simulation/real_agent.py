"""LangGraph itself, over the product's adapter, doing what the plans say: a model, tools, questions, supersteps."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from tests.simulation.overheard import Overheard
from tests.simulation.plans import WORDS, Plan
from unbroken.adapters.langgraph.agent import LangGraphAgent
from unbroken.adapters.langgraph.effects import Effects, schedule_timer
from unbroken.adapters.memory.encoding import decode_blob, decode_checkpoint, decode_json
from unbroken.adapters.memory.tables import AgentState
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.errors import AgentRaised
from unbroken.domain.live_stream import MAX_UNITS
from unbroken.domain.policy import CommitMode
from unbroken.domain.ports.agent import Agent, Attempt
from unbroken.domain.turn import Answer, Settled, Settling

if TYPE_CHECKING:
    from tests.simulation.world import World

_worlds: list[World] = []
"""The one that is simulated now: a graph is compiled once, and its nodes are given nothing but the state."""
_serde = JsonPlusSerializer()


class Overloaded(ConnectionError):
    """What may pass by itself."""


class PlannedModel(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "planned"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise AssertionError("this model works on the event loop only")

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        world = _worlds[-1]
        event, plan = _asked(messages)
        number = _steps_done(messages)
        step = plan.steps[number]
        trouble = plan.trouble(world.tries(event.id or ""))
        for word in range(step.words):
            await asyncio.sleep(step.pause_s)
            if trouble != "none" and number == 0 and word == min(plan.trouble_at, step.words - 1):
                world.in_trouble(event.id or "", trouble)
                await _be_in_trouble(trouble, world, run_manager)
            yield _chunk(world.random.choice(WORDS))
            world.speaks(event.id or "")
        if plan.end == "too_long" and number == len(plan.steps) - 1:
            yield _chunk("z" * (MAX_UNITS + 1))
        for tool in range(step.tools):
            call = tool_call_chunk(name="look", args="{}", id=f"c{tool}-{world.serial()}", index=tool)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))


def _chunk(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


async def _be_in_trouble(trouble: str, world: World, run_manager: AsyncCallbackManagerForLLMRun | None) -> None:
    match trouble:
        case "retryable":
            raise Overloaded("overloaded")
        case "hang":
            await asyncio.sleep(1_000)
        case "swallow":
            for _ in range(30):
                try:
                    await asyncio.sleep(0.1)
                except asyncio.CancelledError:
                    continue
        case "lingers":
            world.keep(asyncio.ensure_future(_linger(run_manager)))
        case "unsettled":
            raise ValueError("and nothing can be made of it")


async def _linger(run_manager: AsyncCallbackManagerForLLMRun | None) -> None:
    for _ in range(20):
        await asyncio.sleep(0.05)
        if run_manager is not None:
            await run_manager.on_llm_new_token("lo ", chunk=_chunk("lo "))


def _asked(messages: Sequence[BaseMessage]) -> tuple[HumanMessage, Plan]:
    human = next(message for message in reversed(messages) if isinstance(message, HumanMessage))
    return human, _worlds[-1].plans.of(str(human.text))


def _steps_done(messages: Sequence[BaseMessage]) -> int:
    """Of the event at work: the model's messages behind it."""
    human, _ = _asked(messages)
    behind = messages[messages.index(human) + 1 :]
    return min(sum(isinstance(message, AIMessage) for message in behind), len(_asked(messages)[1].steps) - 1)


class State(MessagesState):
    effects: Effects
    parts: Annotated[list[str], operator.add]


class Part(TypedDict):
    event: str
    number: int
    asks: bool


async def talk(state: State) -> dict[str, Any]:
    answer = await PlannedModel().ainvoke(state["messages"])
    _, plan = _asked(state["messages"])
    if plan.end == "fail":
        raise ValueError("no")
    if plan.end == "revised":
        answer = answer.model_copy(update={"content": f"revised: {answer.text}"})
    timers = [schedule_timer(after_s, f"timer of {plan.name}", timer_id=plan.timer_id) for after_s in plan.timers_s]
    return {"messages": [answer], "effects": timers} if timers else {"messages": [answer]}


async def look(state: State) -> dict[str, Any]:
    calls = getattr(state["messages"][-1], "tool_calls", [])
    await asyncio.sleep(0.01)
    return {"messages": [ToolMessage("seen", tool_call_id=call["id"]) for call in calls]}


async def ask(state: State) -> dict[str, Any]:
    answer = interrupt("which?")
    return {"messages": [AIMessage(f"You answered {answer}.")]}


async def part(state: Part) -> dict[str, Any]:
    """One of several side by side; of some, the first one asks."""
    await asyncio.sleep(0.02 * state["number"])
    if state["asks"]:
        interrupt("which part?")
    return {"parts": [f"{state['event']}/{state['number']}"]}


async def gather(state: State) -> dict[str, Any]:
    """Knows how many parts there have to be of its event, and that each is there once."""
    human, plan = _asked(state["messages"])
    found = sorted(name for name in state["parts"] if name.startswith(f"{human.id}/"))
    if found != [f"{human.id}/{number}" for number in range(plan.beside)]:
        _worlds[-1].wrong_parts.append(f"{plan.beside} parts were sent for {plan.name}, and found are {found}")
    return {}


Next = Literal["look", "talk", "ask", "part", "__end__"] | list[Send]


def after_talk(state: State) -> Next:
    return "look" if getattr(state["messages"][-1], "tool_calls", None) else after_look(state)


def after_look(state: State) -> Next:
    human, plan = _asked(state["messages"])
    if plan.beside and not any(name.startswith(f"{human.id}/") for name in state["parts"]):
        asks = plan.end == "ask" and plan.questions == 2
        parts = [Part(event=human.id or "", number=n, asks=asks and n == 0) for n in range(plan.beside)]
        return [Send("part", one) for one in parts]
    behind = state["messages"][state["messages"].index(human) + 1 :]
    if sum(isinstance(message, AIMessage) for message in behind) < len(plan.steps):
        return "talk"
    return "ask" if plan.end == "ask" else "__end__"


def compiled() -> Any:
    graph = StateGraph(State)
    graph.add_node(talk).add_node(look).add_node(ask).add_node(part).add_node(gather)
    ways = ["look", "talk", "ask", "part", END]
    graph.add_edge(START, "talk").add_conditional_edges("talk", after_talk, ways)
    graph.add_conditional_edges("look", after_look, ways)
    graph.add_edge("part", "gather").add_conditional_edges("gather", after_look, ways)
    return graph.compile()


_graph = compiled()


class RealAgent(Agent):
    """One process's: what it remembers of heads is its own."""

    def __init__(self, world: World, *, supersteps: bool) -> None:
        if not _worlds or _worlds[-1] is not world:
            _worlds[:] = [world]
        commit = CommitMode.SUPERSTEP if supersteps else CommitMode.TURN
        self._world = world
        self._inner = LangGraphAgent(_graph, world.store.checkpoints, commit=commit, files=world.store.files)

    async def run(self, attempt: Attempt) -> Answer:
        with self._world.calling(attempt.claim) as call:
            call.heard = Overheard(attempt)
            try:
                answer = await self._inner.run(call.heard)
            except AgentRaised as error:
                call.end = "retryable" if error.retryable else "failed"
                raise
            call.end = "asked" if answer.questions else "answered"
            call.answer = answer.text
            return answer

    async def settle(self, settling: Settling) -> Settled:
        return await self._inner.settle(settling)


def messages_of(state: AgentState) -> list[BaseMessage]:
    """What the head holds, as LangChain has it."""
    head = state.heads.get(ROOT)
    if head is None or not head.checkpoint_id:
        return []
    versions = decode_json(decode_checkpoint(state.checkpoints[ROOT, head.checkpoint_id]).checkpoint)
    version = versions["channel_versions"].get("messages")
    if version is None:
        return []
    blob = decode_blob(state.blobs[ROOT, "messages", version])
    found: list[BaseMessage] = _serde.loads_typed((blob.type, blob.blob or b""))
    return found
