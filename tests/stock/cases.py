"""A case: what a stock client does, and what of it two servers must agree on.

A case returns plain JSON without ids, times or anything else that no two runs share.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
from langgraph_sdk import get_client
from msgspec import Struct

PATIENCE_S = 60.0
"""A case that takes longer hangs; nothing is concluded from less."""
Shown = Any
"""What can be written as JSON."""


class Stock(Struct, frozen=True):
    """One server, and who can be asked to disturb it."""

    url: str
    control: str
    """Of the stage."""
    clients: list[Any] = []
    """Those of the case, which are closed at its end."""

    def client(self) -> Any:
        """A stock client of its own: nothing is shared with another. Untyped, because cases send bad requests, too."""
        self.clients.append(get_client(url=self.url, api_key=None))
        return self.clients[-1]

    async def release(self, key: str) -> None:
        """Let the model go on with what it holds."""
        await self._post(f"/release/{key}")

    async def cut(self) -> None:
        """Reset every connection to the server."""
        await self._post("/cut")

    async def restart(self) -> None:
        """Kill the server; on return another one answers in its place."""
        await self._post("/restart")

    async def _post(self, path: str) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
            (await http.post(self.control + path)).raise_for_status()


class Case(Struct, frozen=True):
    name: str
    title: str
    """For the table."""
    play: Callable[[Stock], Awaitable[Shown]]
    kills: bool = False
    """It kills the server."""


CASES: dict[str, Case] = {}


def case(
    name: str, title: str, *, kills: bool = False
) -> Callable[[Callable[[Stock], Awaitable[Shown]]], Callable[[Stock], Awaitable[Shown]]]:
    def register(play: Callable[[Stock], Awaitable[Shown]]) -> Callable[[Stock], Awaitable[Shown]]:
        assert name not in CASES, name
        CASES[name] = Case(name, title, play, kills)
        return play

    return register


async def played(found: Case, stock: Stock) -> Shown:
    """What the client ended with; an error of the client is a result, too."""
    try:
        return await asyncio.wait_for(found.play(stock), PATIENCE_S)
    except Exception as error:  # noqa: BLE001  whatever a stock client raises is what its user sees
        return {"raised": refusal(error)}
    finally:
        for client in stock.clients:
            await client.aclose()


def refusal(error: BaseException) -> str:
    """How a client was refused: by HTTP status, where there was one."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status_code", None)
    return f"HTTP {status}" if status else f"{type(error).__name__}: {error}"[:300]


async def refused(call: Awaitable[Any]) -> str:
    """How a call was refused, or what it gave instead."""
    try:
        given = await call
    except Exception as error:  # noqa: BLE001
        return refusal(error)
    return f"accepted: {type(given).__name__}"


def human(text: Any) -> dict[str, Any]:
    """The input of a graph over messages."""
    return {"messages": [{"role": "user", "content": text}]}


def new_key() -> str:
    """For `hold`."""
    return uuid.uuid4().hex


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message in any of its wire forms."""
    content = message.get("content", "")
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content if block.get("type") == "text")


def talk(values: Any) -> list[list[str]]:
    """A state's messages as pairs of kind and text."""
    return [[message["type"], text_of(message)] for message in (values or {}).get("messages", [])]


async def drained(parts: AsyncIterator[Any]) -> list[Any]:
    return [part async for part in parts]


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition. Raises TimeoutError that says which."""
    for _ in range(int(PATIENCE_S / 2 / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(what)


async def status_becomes(client: Any, thread_id: str, run_id: str, *wanted: str) -> str:
    """Wait until a run has one of these statuses; returns which."""
    status = ""
    for _ in range(int(PATIENCE_S / 0.05)):
        status = str((await client.runs.get(thread_id, run_id))["status"])
        if status in wanted:
            return status
        await asyncio.sleep(0.05)
    raise TimeoutError(f"the run did not become {wanted}, it is {status}")


async def new_thread(client: Any) -> str:
    thread: str = (await client.threads.create())["thread_id"]
    return thread
