"""User B gets no frame, row or byte of A's thread, whatever B tries: every route there is, and every frame.

The routes are asked of the application itself: a new one that is not tried here makes the first test fail.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from litestar.routes import ASGIRoute, HTTPRoute

from tests.end_to_end.server import Server
from tests.web.belongings import ALL, RUN, Belongings
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.web.app import create_app
from unbroken.entrypoints.web.guard import guard_of

TRIED: dict[tuple[str, str], str] = {
    ("GET", "/api/me"): "/api/me",
    ("GET", "/api/threads"): "/api/threads?query=Spain",
    ("POST", "/api/threads"): "/api/threads",
    ("GET", "/api/threads/{thread_id:str}"): "/api/threads/{thread}",
    ("PATCH", "/api/threads/{thread_id:str}"): "/api/threads/{thread}",
    ("DELETE", "/api/threads/{thread_id:str}"): "/api/threads/{thread}",
    ("GET", "/api/threads/{thread_id:str}/messages"): "/api/threads/{thread}/messages?limit=200",
    ("POST", "/api/threads/{thread_id:str}/files"): "/api/threads/{thread}/files?name=mine.txt",
    ("GET", "/api/threads/{thread_id:str}/files/{file_id:str}"): "/api/threads/{thread}/files/{file}",
    ("GET", "/api/sessions/{key:str}/timeline"): "/api/sessions/{session}/timeline?limit=50",
    (
        "GET",
        "/api/sessions/{key:str}/checkpoints/{checkpoint_id:str}",
    ): "/api/sessions/{session}/checkpoints/{state}",
    ("POST", "/api/sessions/{key:str}/effects/{effect_id:str}/retry"): "/api/sessions/{session}/effects/{effect}/retry",
    ("POST", "/threads/{thread_id:str}/runs"): "/threads/{thread}/runs",
    ("POST", "/threads/{thread_id:str}/runs/stream"): "/threads/{thread}/runs/stream",
    ("POST", "/threads/{thread_id:str}/runs/wait"): "/threads/{thread}/runs/wait",
    ("GET", "/threads/{thread_id:str}/runs"): "/threads/{thread}/runs",
    ("GET", "/threads/{thread_id:str}/runs/{run_id:str}"): "/threads/{thread}/runs/{run}",
    ("DELETE", "/threads/{thread_id:str}/runs/{run_id:str}"): "/threads/{thread}/runs/{run}",
    ("GET", "/threads/{thread_id:str}/runs/{run_id:str}/join"): "/threads/{thread}/runs/{run}/join",
    ("GET", "/threads/{thread_id:str}/runs/{run_id:str}/stream"): "/threads/{thread}/runs/{run}/stream",
    ("POST", "/threads/{thread_id:str}/runs/{run_id:str}/cancel"): "/threads/{thread}/runs/{run}/cancel",
    ("GET", "/threads/{thread_id:str}/stream"): "/threads/{thread}/stream",
    ("POST", "/agui/{agent:str}"): "/agui/one",
    ("POST", "/runs"): "/runs",
    ("POST", "/runs/stream"): "/runs/stream",
    ("POST", "/runs/wait"): "/runs/wait",
    ("POST", "/runs/batch"): "/runs/batch",
    ("POST", "/runs/cancel"): "/runs/cancel",
    ("POST", "/threads/{thread_id:str}/commands"): "/threads/{thread}/commands",
    ("POST", "/threads/{thread_id:str}/stream/events"): "/threads/{thread}/stream/events",
    ("POST", "/threads"): "/threads",
    ("POST", "/threads/search"): "/threads/search",
    ("POST", "/threads/count"): "/threads/count",
    ("POST", "/threads/prune"): "/threads/prune",
    ("GET", "/threads/{thread_id:str}"): "/threads/{thread}",
    ("PATCH", "/threads/{thread_id:str}"): "/threads/{thread}",
    ("DELETE", "/threads/{thread_id:str}"): "/threads/{thread}",
    ("POST", "/threads/{thread_id:str}/copy"): "/threads/{thread}/copy",
    ("GET", "/threads/{thread_id:str}/state"): "/threads/{thread}/state?subgraphs=true",
    ("POST", "/threads/{thread_id:str}/state"): "/threads/{thread}/state",
    ("GET", "/threads/{thread_id:str}/state/{checkpoint_id:str}"): "/threads/{thread}/state/{state}",
    ("POST", "/threads/{thread_id:str}/state/checkpoint"): "/threads/{thread}/state/checkpoint",
    ("GET", "/threads/{thread_id:str}/history"): "/threads/{thread}/history",
    ("POST", "/threads/{thread_id:str}/history"): "/threads/{thread}/history",
    ("POST", "/assistants/search"): "/assistants/search",
    ("POST", "/assistants/count"): "/assistants/count",
    ("GET", "/assistants/{assistant_id:str}"): "/assistants/{assistant}",
    ("PATCH", "/assistants/{assistant_id:str}"): "/assistants/{assistant}",
    ("DELETE", "/assistants/{assistant_id:str}"): "/assistants/{assistant}",
    ("POST", "/assistants/{assistant_id:str}/versions"): "/assistants/{assistant}/versions",
    ("POST", "/assistants/{assistant_id:str}/latest"): "/assistants/{assistant}/latest",
    ("GET", "/assistants/{assistant_id:str}/schemas"): "/assistants/{assistant}/schemas",
    ("GET", "/assistants/{assistant_id:str}/graph"): "/assistants/{assistant}/graph",
    ("GET", "/assistants/{assistant_id:str}/subgraphs"): "/assistants/{assistant}/subgraphs",
    ("GET", "/assistants/{assistant_id:str}/subgraphs/{namespace:str}"): "/assistants/{assistant}/subgraphs/x",
    # Last, for B has one of that id afterwards.
    ("POST", "/assistants"): "/assistants",
}
"""Route → the address at which B asks for A's."""

OF_NOBODY = {
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/ok"),
    ("GET", "/info"),
    # Refused for everybody.
    ("POST", "/runs/crons"),
    ("POST", "/runs/crons/search"),
    ("POST", "/runs/crons/count"),
    ("POST", "/threads/{thread_id:str}/runs/crons"),
    ("PATCH", "/runs/crons/{cron_id:str}"),
    ("DELETE", "/runs/crons/{cron_id:str}"),
    # The agents' long-term memory is everybody's, unless a project's rules say whose (tests/langgraph_api).
    ("PUT", "/store/items"),
    ("GET", "/store/items"),
    ("DELETE", "/store/items"),
    ("POST", "/store/items/search"),
    ("POST", "/store/namespaces"),
    ("FILES", "/"),
    ("FILES", "/vendor"),
    ("WEBSOCKET", "/api/chat/ws"),
    ("WEBSOCKET", "/threads/{thread_id:str}/stream/events"),
}
"""Routes that hold nothing of a user's; the sockets are tried below."""

ECHOES = {("POST", "/agui/{agent:str}")}
"""What tells its caller the name of the thread that was asked for."""
BODIES: dict[str, Any] = {
    "POST /threads/{thread_id:str}/runs": RUN,
    "POST /threads/{thread_id:str}/runs/stream": RUN,
    "POST /threads/{thread_id:str}/runs/wait": RUN | {"multitask_strategy": "rollback"},
    "POST /agui/{agent:str}": {"threadId": "{thread}", "runId": "b1", "messages": []},
    "POST /runs/cancel": {"thread_id": "{thread}", "run_ids": ["{run}"]},
    "POST /threads/{thread_id:str}/commands": {"id": 1, "method": "state.get", "params": {"namespace": []}},
    "POST /threads/{thread_id:str}/stream/events": {"channels": ALL},
    "POST /api/threads": {"threadId": "{thread}"},
    "PATCH /api/threads/{thread_id:str}": {"title": "B's"},
    "POST /threads": {"thread_id": "{thread}", "if_exists": "do_nothing"},
    "POST /threads/search": {"ids": ["{thread}"]},
    "POST /threads/count": {},
    "POST /threads/prune": {"thread_ids": ["{thread}"]},
    "PATCH /threads/{thread_id:str}": {"metadata": {"b": "was here"}},
    "POST /threads/{thread_id:str}/state": {"values": {"messages": ["B's"]}},
    "POST /threads/{thread_id:str}/state/checkpoint": {"checkpoint": {"checkpoint_id": "{state}"}},
    "POST /threads/{thread_id:str}/history": {},
    "POST /assistants": {"graph_id": "endings", "assistant_id": "{assistant}"},
    "POST /assistants/search": {"metadata": {"secret": "rain"}},
    "POST /assistants/count": {"metadata": {"secret": "rain"}},
    "PATCH /assistants/{assistant_id:str}": {"name": "B's"},
    "POST /assistants/{assistant_id:str}/versions": {},
    "POST /assistants/{assistant_id:str}/latest": {"version": 1},
}
CREATES = {("POST", "/api/threads"): (409, 201), ("POST", "/threads"): (409, 200), ("POST", "/assistants"): (200, 200)}
"""What B is told at A's id and at one that nobody has. A thread is one user's alone; an assistant's id means to each
user what that user made of it."""


def never() -> AbstractAsyncContextManager[Service]:
    raise AssertionError("nothing is served here")


def routes() -> Iterator[tuple[str, str]]:
    for route in create_app(never, guard_of(Settings())).routes:
        if isinstance(route, HTTPRoute):
            static = route.path == "/" or route.path.endswith("/{file_path:path}")
            for method in route.methods - {"OPTIONS", "HEAD"}:
                yield ("FILES", route.path.removesuffix("/{file_path:path}") or "/") if static else (method, route.path)
        elif isinstance(route, ASGIRoute):
            yield "FILES", route.path
        else:
            yield "WEBSOCKET", route.path


def test_every_route_is_tried() -> None:
    assert set(routes()) == set(TRIED) | OF_NOBODY


@pytest.mark.asyncio
async def test_no_route_gives_b_anything_of_as_or_tells_that_it_exists(memory_server: Server, thread: str) -> None:
    mine = Belongings(memory_server, thread)
    await mine.begin()
    absent = f"{thread}.absent"[-120:]
    for number, ((method, route), address) in enumerate(TRIED.items()):
        replies = []
        names = mine.thread.encode(), f"{absent}.{number}".encode()
        for thread_id, file_id in ((mine.thread, mine.file), (f"{absent}.{number}", "none")):
            path = mine.filled(address, thread_id, file_id)
            body = BODIES.get(f"{method} {route}")
            if body is not None:
                text = (
                    json.dumps(body)
                    .replace("{thread}", thread_id)
                    .replace("{state}", mine.state)
                    .replace("{run}", mine.run)
                )
                body = json.loads(text.replace("{assistant}", mine.assistant if file_id == mine.file else "none"))
            reply = mine.b.ask(method, path, body if body is not None else b"x" if method == "POST" else None)
            replies.append(reply)
            told = reply.body.decode() + str(reply.headers)
            assert not [secret for secret in mine.secrets if secret in told], (method, route)
        foreign, nothing = replies
        if (method, route) in CREATES:
            assert (foreign.status, nothing.status) == CREATES[method, route]
        else:
            assert foreign.status == nothing.status or nothing.status == 404, (method, route)
            asked = [name if (method, route) in ECHOES else b"" for name in names]
            assert foreign.body.replace(asked[0], b"") == nothing.body.replace(asked[1], b""), (method, route)
            assert foreign.status == 404 or mine.thread not in mine.filled(address, mine.thread, mine.file)
    assert mine.untouched()


@pytest.mark.asyncio
async def test_a_key_that_names_b_does_not_open_as_thread(memory_server: Server, thread: str) -> None:
    mine = Belongings(memory_server, thread)
    await mine.begin()
    for (method, _), address in TRIED.items():
        if "{session}" in address:
            path = mine.filled(address, mine.thread, mine.file).replace(mine.a.user, mine.b.user)
            reply = mine.b.ask(method, path, b"x" if method == "POST" else None)
            assert reply.error == (404, "not_found"), path
            assert not [secret for secret in mine.secrets if secret in reply.body.decode()]
