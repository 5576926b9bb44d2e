"""The project's own routes, with a middleware and a lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from starlette.types import ASGIApp, Receive, Scope, Send


def note_the_end() -> None:
    Path("lifespan-ended").touch()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"began": "yes"}
    note_the_end()


app = FastAPI(lifespan=lifespan)


@app.get("/own/{name}")
async def own(name: str, request: Request) -> dict[str, Any]:
    return {"hello": name, "began": request.state.began}


@app.get("/health/live")
async def theirs() -> dict[str, str]:
    return {"live": "theirs"}


@app.websocket("/own-socket")
async def own_socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(f"echo {await socket.receive_text()}")
    await socket.close()


class Marking:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-marked", b"yes")]
            await send(message)

        await self.app(scope, receive, marked)


app.add_middleware(Marking)
