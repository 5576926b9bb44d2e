"""Functions of every kind that give a graph."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from graphs import telling

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph_sdk.runtime import ServerRuntime

left: list[str] = []
"""Contexts that were left again."""


def plain() -> Any:
    return telling("plain")


def by_config(config: "RunnableConfig") -> Any:
    return telling(f"thread {config['configurable']['thread_id']}").compile()


def by_runtime(runtime: "ServerRuntime") -> Any:
    return telling(f"{runtime.access_context}, {runtime.execution_runtime is not None}")


def by_both(runtime: "ServerRuntime[None]", config: "RunnableConfig") -> Any:
    return telling(f"{runtime.access_context} of {config['configurable']['user_id']}")


async def awaited(config: "RunnableConfig") -> Any:
    return telling(f"awaited {config['configurable']['thread_id']}")


@contextmanager
def in_context() -> Iterator[Any]:
    yield telling("within")
    left.append("within")


@asynccontextmanager
async def in_async_context(config: "RunnableConfig") -> AsyncIterator[Any]:
    yield telling("within async").compile()
    left.append(f"async {config['configurable']['thread_id']}")
