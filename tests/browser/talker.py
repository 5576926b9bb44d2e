"""An agent that says, asks and does what it is told, so that a test can put anything on the page.

say TEXT        streams TEXT as it is, a few letters at a time
long N          counts to N, slowly enough to be stopped
ask JSON        asks this, and repeats the answer; "stumble" makes it fail
stumble NAME    fails the first time it hears this NAME
look            tells what kinds of content it was given
recall          tells all that it remembers to have been told
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

PIECE = 7
LONG_PAUSE_S = 0.04
stumbled: set[str] = set()


class Talker(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "talker"

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
        verb, _, rest = told(messages).partition(" ")
        if verb == "stumble" and rest not in stumbled:
            stumbled.add(rest)
            raise ValueError("it stumbled")
        if verb == "long":
            for number in range(1, int(rest) + 1):
                yield _chunk(f"{number} ")
                await asyncio.sleep(LONG_PAUSE_S)
            return
        answers = {"say": rest, "look": seen(messages[-1]), "recall": remembered(messages)}
        text = answers.get(verb, f"You said: {told(messages)}")
        for start in range(0, len(text), PIECE):
            yield _chunk(text[start : start + PIECE])
            await asyncio.sleep(0)


def told(messages: Sequence[BaseMessage]) -> str:
    """The last message, without what is attached to it."""
    content = next(message.content for message in reversed(messages) if isinstance(message, HumanMessage))
    first = content if isinstance(content, str) else content[0]
    return first if isinstance(first, str) else str(first.get("text", ""))


def remembered(messages: Sequence[BaseMessage]) -> str:
    return "I remember: " + ", ".join(str(message.text) for message in messages if isinstance(message, HumanMessage))


def seen(message: BaseMessage) -> str:
    blocks = message.content if isinstance(message.content, list) else []
    kinds = [f"{block['type']} {block.get('mime_type', '')}".strip() for block in blocks if isinstance(block, dict)]
    return "I see: " + ", ".join(kinds)


async def talk(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Talker().ainvoke(state["messages"])]}


async def ask(state: MessagesState) -> dict[str, Any]:
    answer = interrupt(json.loads(told(state["messages"]).removeprefix("ask ")))
    if answer == "stumble":
        raise ValueError("it stumbled")
    return {"messages": [AIMessage(f"You answered: {json.dumps(answer)}")]}


def route(state: MessagesState) -> str:
    return "ask" if told(state["messages"]).startswith("ask ") else "talk"


def _chunk(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


graph = (
    StateGraph(MessagesState)
    .add_node(talk)
    .add_node(ask)
    .add_conditional_edges(START, route, ["talk", "ask"])
    .add_edge("talk", END)
    .add_edge("ask", END)
    .compile()
)
