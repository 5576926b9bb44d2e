"""What a graph with a context of its own finds there, whoever began the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field

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


class Named(BaseModel):
    tone: str = Field("kind", alias="as")


@pytest.mark.parametrize("schema", [Tone, Manner])
@pytest.mark.parametrize(
    ("body", "tone"),
    [
        (UserMessage("hello"), "kind"),
        (UserMessage("hello", config={"configurable": {"tone": "dry"}}), "dry"),
        (RunStart(GIVEN), "kind"),
        (RunStart(GIVEN, context={"tone": "dry"}), "dry"),
        (RunStart(GIVEN, context={"tone": "dry", "other": 1}), "dry"),
        (RunStart(GIVEN, config={"configurable": {"tone": "dry", "user_id": "eve", "other": 1}}), "dry"),
    ],
    ids=["message", "by a rule", "run", "context", "more context", "configurable"],
)
async def test_a_graph_has_its_context_whoever_began_the_run(schema: type[Any], body: EventBody, tone: str) -> None:
    chat = Chat(telling(schema))
    assert (await chat.run(await chat.accept(body))).text == tone


def looking(seen: dict[str, Any], schema: type[Any] | None) -> Any:
    def look(state: MessagesState, config: RunnableConfig, runtime: Runtime[Any]) -> dict[str, Any]:
        seen.update(context=runtime.context, **config["configurable"])
        return {"messages": [AIMessage("looked")]}

    node: Any = look
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState, context_schema=schema)
    return builder.add_node("look", node).add_edge(START, "look").compile()


@pytest.mark.parametrize(
    ("schema", "given", "known"),
    [
        (None, {"tone": "dry", "other": 1}, {"tone": "dry", "other": 1}),
        (Tone, {"tone": "dry", "other": 1}, Tone("dry")),
        (Named, {"as": "dry", "other": 1}, Named(**{"as": "dry"})),
    ],
    ids=["any", "dataclass", "alias"],
)
async def test_a_context_is_configurable_as_far_as_the_graph_knows_it(
    schema: type[Any] | None, given: dict[str, Any], known: Any
) -> None:
    seen: dict[str, Any] = {}
    chat = Chat(looking(seen, schema))
    config = {"configurable": {"kept": 2, "tone": "loud"}}
    body = RunStart(GIVEN, config=config, context=given | {"user_id": "eve"}, metadata={"graph_id": "g"})
    event = await chat.accept(body)
    await chat.run(event)
    context = seen["context"]
    assert context == (known | {"user_id": "eve"} if schema is None else known)
    told = {name: seen.get(name) for name in ("tone", "as", "other", "kept", "user_id", "run_id", "graph_id")}
    assert told == {
        "tone": given.get("tone", "loud"),
        "as": given.get("as"),
        "other": given["other"] if schema is None else None,
        "kept": 2,
        "user_id": "ann",
        "run_id": chat.seen.claim.event.id,
        "graph_id": "g",
    }
