"""A model provider as an ASGI application: it speaks OpenAI's chat completions and says what the last message asks for.

`hold KEY …` stops after five words until somebody posts /release/KEY. A question about the weather calls the tool
`get_weather` if it is offered, `break it` calls `broken`; after a tool the model says what the tool said. Anything else
is said back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
WORDS = [f"word{number} " for number in range(10)]
HELD_AFTER = 5
"""Words of a held answer that are said at once."""
PACE_S = 0.01
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


class Plan:
    """What the model will do about one request."""

    def __init__(self, body: dict[str, Any]) -> None:
        last = body["messages"][-1]
        text = _text(last["content"])
        offered = {offer["function"]["name"] for offer in body.get("tools", [])}
        self.words: list[str] = []
        self.tool: tuple[str, list[str]] | None = None
        self.key: str | None = None
        if last["role"] == "tool":
            self.words = ["The ", "tool ", "said: ", text, "."]
        elif "weather" in text and "get_weather" in offered:
            self.tool = "get_weather", ['{"ci', 'ty": ', '"Paris"}']
        elif "break it" in text and "broken" in offered:
            self.tool = "broken", ['{"reason": "asked"}']
        elif text.startswith("hold "):
            self.words, self.key = WORDS, text.split()[1]
        else:
            self.words = ["You ", "said: ", *(f"{word} " for word in text.split())]

    @property
    def finish(self) -> str:
        return "tool_calls" if self.tool else "stop"


class Provider:
    def __init__(self) -> None:
        self._released: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def held(self, key: str) -> asyncio.Event:
        return self._released.setdefault(key, asyncio.Event())

    def let_go(self) -> None:
        """Hold nothing any more; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._let_go)

    def _let_go(self) -> None:
        for event in self._released.values():
            event.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        self._loop = asyncio.get_running_loop()
        if path.startswith("/release/"):
            self.held(path.removeprefix("/release/")).set()
            await answer(send, {})
        elif path == "/v1/chat/completions":
            await self._complete(json.loads(await body_of(receive)), send)
        else:
            await answer(send, {"error": f"nothing is at {path}"}, status=404)

    async def _complete(self, body: dict[str, Any], send: Send) -> None:
        plan = Plan(body)
        if not body.get("stream"):
            if plan.key is not None:
                await self.held(plan.key).wait()
            await answer(send, _whole(plan))
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, chunk in enumerate(_chunks(plan)):
            if plan.key is not None and number == HELD_AFTER + 1:
                await self.held(plan.key).wait()
            await send({"type": "http.response.body", "body": b"data: " + chunk + b"\n\n", "more_body": True})
            await asyncio.sleep(PACE_S)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message: dict[str, Any] = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def answer(send: Send, value: Any, *, status: int = 200) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


def _chunks(plan: Plan) -> Iterable[bytes]:
    """The role first, so that word N is chunk N + 1."""
    yield _chunk({"role": "assistant", "content": ""})
    if plan.tool is not None:
        name, arguments = plan.tool
        start = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        yield _chunk({"tool_calls": [start]})
        for part in arguments:
            yield _chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    for word in plan.words:
        yield _chunk({"content": word})
    yield _chunk({}, plan.finish)
    yield _said("chat.completion.chunk", [], usage=USAGE)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return _said("chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": finish}])


def _said(kind: str, choices: list[dict[str, Any]], **more: Any) -> bytes:
    head: dict[str, Any] = {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "scripted"}
    return json.dumps({**head, "choices": choices, **more}).encode()


def _whole(plan: Plan) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(plan.words)}
    if plan.tool is not None:
        name, arguments = plan.tool
        function = {"name": name, "arguments": "".join(arguments)}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": plan.finish}
    whole: dict[str, Any] = json.loads(_said("chat.completion", [choice], usage=USAGE))
    return whole


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content if part.get("type") == "text")
    return str(content)
