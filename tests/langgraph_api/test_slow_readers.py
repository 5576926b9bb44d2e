"""Readers that take nothing are sent away, as many as a user may have are open, and runs do not notice."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from tests.end_to_end.server import Server
from tests.web.rest import Rest
from tests.web.tokens import SECRET, shared

PATIENCE_S = 60.0


def opened(server: Server, path: str, body: dict[str, Any], **headers: str) -> socket.socket:
    """A request whose answer nobody reads."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    raw.connect(("127.0.0.1", server.port))
    content = json.dumps(body).encode()
    named = {"Host": f"127.0.0.1:{server.port}", "Content-Length": str(len(content)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    raw.sendall("\r\n".join(lines).encode() + content)
    return raw


def run(text: str, **more: Any) -> dict[str, Any]:
    said = {"messages": [{"role": "user", "content": text}]}
    return {"assistant_id": "one", "input": said, "if_not_exists": "create", **more}


def status_becomes(rest: Rest, thread: str, *wanted: str) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        reply = rest.ask("GET", f"/threads/{thread}/runs")
        if reply.status == 200 and reply.json and reply.json[0]["status"] in wanted:
            return str(reply.json[0]["status"])
        time.sleep(0.05)
    raise AssertionError(f"the run is none of {wanted}")


def test_a_reader_that_takes_nothing_counts_as_gone(memory_server: Server) -> None:
    """Each event repeats the whole message so far, so that no buffer between the two holds what is streamed."""
    rest, thread = Rest(memory_server, "local"), str(uuid4())
    body = run("words=2500 pause=0.004", stream_mode="messages", on_disconnect="cancel")
    with closing(opened(memory_server, f"/threads/{thread}/runs/stream", body)):
        assert status_becomes(rest, thread, "interrupted", "success") == "interrupted"


def test_a_reader_that_takes_nothing_does_not_hold_up_the_run(memory_server: Server) -> None:
    rest, thread = Rest(memory_server, "local"), str(uuid4())
    body = run("words=2500 pause=0.001", stream_mode="messages")
    with closing(opened(memory_server, f"/threads/{thread}/runs/stream", body)):
        assert status_becomes(rest, thread, "interrupted", "success") == "success"


@pytest.fixture
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "UNBROKEN_AUTH": "jwt",
        "UNBROKEN_JWT_KEY": SECRET,
        "UNBROKEN_USER_SOCKETS": "2",
        "UNBROKEN_USER_MESSAGES_PER_MIN": "5",
    }
    with Server(tmp_path_factory.mktemp("strict"), arguments=["--in-memory"], environment=settings) as server:
        yield server


def test_one_user_follows_so_many_runs_and_starts_so_many(strict_server: Server) -> None:
    ann, bob = ({"Authorization": f"Bearer {shared(user)}"} for user in ("ann", "bob"))
    rest = Rest(strict_server, "whoever")
    streams = [opened(strict_server, "/runs/stream", run("words=500 pause=0.02"), **ann) for _ in range(2)]
    for stream in streams:
        assert stream.recv(20).startswith(b"HTTP/1.1 200")
    third = rest.ask("POST", "/runs/stream", run("hello"), headers=ann)
    assert (third.status, "2 sockets" in third.json["detail"]) == (429, True)
    assert rest.ask("POST", "/runs/wait", run("hello"), headers=bob).status == 200
    for stream in streams:
        stream.close()
    deadline = time.monotonic() + PATIENCE_S
    while (reply := rest.ask("POST", "/runs/wait", run("hello"), headers=ann)).status == 429:
        assert time.monotonic() < deadline, reply.body
        if "minute" in reply.json["detail"]:
            break
        time.sleep(0.05)
    for _ in range(5):
        reply = rest.ask("POST", "/runs", run("hello"), headers=ann)
    assert (reply.status, "minute" in reply.json["detail"]) == (429, True)
    assert rest.ask("POST", "/runs", run("hello")).status == 401
