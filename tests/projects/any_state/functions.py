"""Functions that are graphs."""

from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.func import entrypoint, task
from langgraph.types import interrupt


@task
async def doubled(number: int) -> int:
    return 2 * number


@entrypoint()
async def greet(name: str) -> str:
    return f"Hello {name}!"


@entrypoint()
async def double(number: int, *, previous: Any = None) -> dict[str, Any]:
    return {"result": await doubled(number), "before": previous and previous["result"]}


@entrypoint()
async def answering(messages: list[AnyMessage]) -> AIMessage:
    return AIMessage(f"I heard {messages[-1].content}")


@entrypoint()
async def writing(wish: dict[str, Any]) -> str:
    draft = f"{await doubled(wish['length'])} words"
    return draft if interrupt({"draft": draft}) == "fine" else "nothing"
