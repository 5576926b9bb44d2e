"""The bundled agent that needs no key: a real graph around a model that recites.

It streams word by word, calls a tool, asks back, is slow on request so that one can pull the plug, and sets timers.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt

from unbroken.adapters.langgraph.effects import Effects, schedule_timer
from unbroken.adapters.langgraph.history import Graph
from unbroken.adapters.langgraph.inputs import TIMER

PAUSE_S = 0.04
MAX_SLOW_S = 600.0
SLOW_PAUSE_S = 0.25
ASKING = "I would like to know one thing. You may answer now, or in a week."
_SLOW = re.compile(r"(?i)\bslow\s+(\d+(?:\.\d+)?)")
_COUNT = re.compile(r"(?is)\bcount\b[:\s]+(.+)")
_ASK = re.compile(r"(?i)\bask me\b")
_QUESTION = {
    "question": "What would you take on a long journey?",
    "options": ["A lamp", "A map", "A good book"],
}
_REMIND = re.compile(r"(?i)\bremind me in (\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?)\b")


class State(MessagesState):
    effects: Effects


@tool
def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


class DemoModel(BaseChatModel):
    """Deterministic: what it says follows from the last message alone."""

    model: str = "scripted-demo"
    """What telemetry calls it."""
    pause_s: float = PAUSE_S
    slow_pause_s: float = SLOW_PAUSE_S

    @property
    def _llm_type(self) -> str:
        return "scripted-demo"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=reply(messages))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        message = reply(messages)
        seconds = _slow_s(messages[-1])
        words = _tale(seconds, self.slow_pause_s) if seconds else _words(str(message.content))
        pause_s = self.slow_pause_s if seconds else self.pause_s
        for word in words:
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
            await asyncio.sleep(pause_s)
        for call in message.tool_calls:
            chunk = tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=0)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))


def reply(messages: list[BaseMessage]) -> AIMessage:
    last = messages[-1]
    said = _text(last)
    if isinstance(last, ToolMessage):
        return AIMessage(f"The tool counted {said} words.")
    if last.name == TIMER:
        about = last.additional_kwargs.get("payload")
        return AIMessage(f"You asked me to remind you: {about or 'the time is up'}.")
    if (remind := _REMIND.search(said)) is not None:
        return AIMessage(f"I will come back to you in {remind[1]} {remind[2]}, unless you write first.")
    if (count := _COUNT.search(said)) is not None:
        call = {"name": "count_words", "args": {"text": count[1].strip()}, "id": f"count-{last.id}"}
        return AIMessage("Let me count.", tool_calls=[call])
    if _ASK.search(said):
        return AIMessage(ASKING)
    if seconds := _slow_s(last):
        return AIMessage("".join(_tale(seconds, SLOW_PAUSE_S)))
    return AIMessage(
        "I am a scripted demo, not a language model; set `UNBROKEN_MODEL` to talk to a real one. "
        f"You said: {said!r}.\n\n"
        "What I can do:\n\n"
        "- stream an answer for a while, so that you can pull the plug meanwhile: `slow 60`\n"
        "- call a tool: `count: some words`\n"
        "- ask you something: `ask me`\n"
        "- write first: `remind me in 5 s`"
    )


async def remember(state: State) -> dict[str, Any]:
    """Answers, and returns the timer that it promises as an effect."""
    answer = await MODEL.ainvoke(state["messages"])
    last = state["messages"][-1]
    promised = _REMIND.search(_text(last)) if isinstance(last, HumanMessage) and last.name != TIMER else None
    if promised is None:
        return {"messages": [answer]}
    after_s = float(promised[1]) * (60.0 if promised[2].lower().startswith("m") else 1.0)
    return {"messages": [answer], "effects": [schedule_timer(after_s, payload=_text(last), timer_id="reminder")]}


async def ask(state: State) -> dict[str, Any]:
    answer = interrupt(_QUESTION)
    return {"messages": [AIMessage(f"{answer}: I will remember that.")]}


def after_the_model(state: State) -> str:
    said = next(message for message in reversed(state["messages"]) if isinstance(message, HumanMessage))
    if reply([said]).text == ASKING:
        return "ask"
    return str(tools_condition(dict(state)))


def demo_graph() -> Graph:
    builder = StateGraph(State)
    builder.add_node("assistant", remember)
    builder.add_node("tools", ToolNode([count_words]))
    builder.add_node("ask", ask)
    builder.add_edge(START, "assistant")
    builder.add_conditional_edges("assistant", after_the_model, ["ask", "tools", END])
    builder.add_edge("tools", "assistant")
    return builder.compile()


MODEL = DemoModel()


def _text(message: BaseMessage) -> str:
    return str(message.text)


def _slow_s(message: BaseMessage) -> float:
    found = _SLOW.search(_text(message)) if isinstance(message, HumanMessage) and message.name != TIMER else None
    return min(float(found[1]), MAX_SLOW_S) if found else 0.0


def _tale(seconds: float, pause_s: float) -> Iterator[str]:
    yield "This is a scripted demo, being slow."
    for step in range(1, max(1, round(seconds / pause_s))):
        yield f" Word {step}."


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*$|\s*\S+", text)
