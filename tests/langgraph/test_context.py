"""What a graph with a context of its own finds there, whoever began the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel

from tests.langgraph.driving import Chat
from unbroken.domain.events import EventBody, RunStart, UserMessage

pytestmark = pytest.mark.asyncio

GIVEN = {"messages": [{"type": "human", "content": "hello"}]}


@dataclass
class Tone:
    tone: str = "kind"


class Manner(BaseModel):
    tone: str = "kind"


def telling(schema: type[Any]) -> Any:
    async def tell(state: MessagesState, runtime: Runtime[Any]) -> dict[str, Any]:
        return {"messages": [AIMessage(runtime.context.tone)]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState, context_schema=schema)
    return builder.add_node("tell", tell).add_edge(START, "tell").compile()


@pytest.mark.parametrize("schema", [Tone, Manner])
@pytest.mark.parametrize(
    ("body", "tone"),
    [
        (UserMessage("hello"), "kind"),
        (RunStart(GIVEN), "kind"),
        (RunStart(GIVEN, context={"tone": "dry"}), "dry"),
        (RunStart(GIVEN, config={"configurable": {"tone": "dry", "user_id": "eve", "other": 1}}), "dry"),
    ],
    ids=["message", "run", "context", "configurable"],
)
async def test_a_graph_has_its_context_whoever_began_the_run(schema: type[Any], body: EventBody, tone: str) -> None:
    chat = Chat(telling(schema))
    assert (await chat.run(await chat.accept(body))).text == tone
