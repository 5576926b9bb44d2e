"""The direct send, as one would write it: `python -m benchmarks.direct memory|postgres|exit PORT`.

A Litestar handler that calls the graph and sends each token as it comes. `memory`: InMemorySaver, no durability at
all; `postgres`: the official AsyncPostgresSaver over a pool; `exit`: the same, one checkpoint a turn.

Nothing of it is made slower than it need be: frames are encoded by msgspec through Litestar's own `send_json` (a ninth
of what `json` takes), the event loop is uvloop, the protocol uvicorn's fastest, nothing is compressed or logged, the
driver is compiled, its statements are prepared, and its pool has as many connections as ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from langchain_core.messages import AIMessageChunk
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from litestar import Litestar, WebSocket, get, websocket
from litestar.exceptions import WebSocketDisconnect
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.graph import builder


@websocket("/ws")
async def chat(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    graph = socket.app.state.graph
    options: dict[str, Any] = {"durability": "exit"} if socket.app.state.kind == "exit" else {}
    config = {"configurable": {"thread_id": socket.query_params["threadId"]}}
    try:
        while True:
            message = await socket.receive_json()
            text: list[str] = []
            asked = {"messages": [("user", message["content"])]}
            async for chunk, _ in graph.astream(asked, config, stream_mode="messages", **options):
                if isinstance(chunk, AIMessageChunk) and chunk.content:
                    text.append(str(chunk.content))
                    await socket.send_json({"type": "token", "requestId": message["requestId"], "value": chunk.content})
            await socket.send_json({"type": "final", "requestId": message["requestId"], "message": "".join(text)})
    except WebSocketDisconnect:
        return


@get("/")
async def ready() -> str:
    return "ready"


def app(kind: str) -> Litestar:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        app.state.kind = kind
        if kind == "memory":
            app.state.graph = builder.compile(checkpointer=InMemorySaver())
            yield
            return
        options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        async with AsyncConnectionPool(os.environ["DATABASE_URL"], min_size=10, max_size=10, kwargs=options) as pool:
            saver = AsyncPostgresSaver(pool)  # type: ignore[arg-type]
            await saver.setup()
            app.state.graph = builder.compile(checkpointer=saver)
            yield

    return Litestar([chat, ready], lifespan=[lifespan], logging_config=None)


if __name__ == "__main__":
    uvicorn.run(
        app(sys.argv[1]),
        port=int(sys.argv[2]),
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
    )
