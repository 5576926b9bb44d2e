"""The page's reducer keeps the same laws as the Python one, and never says anything else."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client.replay import TRACES, do, load
from unbroken.entrypoints.client.reducer import Conversation
from unbroken.entrypoints.web.frames import CloseCode

HERE = TRACES[0].parents[1]
REQUESTS = st.sampled_from(["a", "b", "c"])
CURSORS = st.integers(1, 6)
ATTEMPTS = st.integers(1, 3)
OFFSETS = st.integers(0, 4)
TEXTS = st.sampled_from(["x", "yz", "👋", "\n\n"])
INTERRUPTS = st.sampled_from(["i", "j"])


def node() -> str:
    found = shutil.which("node")
    assert found, "the page is tested with Node.js 20 or later, which is not installed"
    return found


def test_the_page_passes_every_trace() -> None:
    ran = subprocess.run(
        [node(), "--test", str(HERE / "reducer.test.js")], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout[-4_000:] + ran.stderr[-4_000:]
    assert f"# pass {len(TRACES)}" in ran.stdout or f"pass {len(TRACES)}" in ran.stdout


class Twin:
    """The page's reducer in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [node(), str(HERE / "replay.js")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def views(self, trace: dict[str, Any]) -> list[dict[str, Any]]:
        _write(self._process.stdin, json.dumps(trace))
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"node died of {trace}"
        views: list[dict[str, Any]] = json.loads(line)
        return views

    def close(self) -> None:
        with self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(10)


def _write(pipe: IO[str] | None, line: str) -> None:
    assert pipe
    pipe.write(line + "\n")
    pipe.flush()


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    twin = Twin()
    yield twin
    twin.close()


def frame(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


USER = st.fixed_dictionaries(
    {
        "type": st.just("user"),
        "requestId": REQUESTS,
        "seq": CURSORS,
        "createdAt": st.just("2026-11-01T00:00:00Z"),
        "content": TEXTS,
    },
    optional={"replaces": REQUESTS},
)
NAMESPACES = st.sampled_from([[], ["sub:1"]])
BLOCKS = st.lists(
    st.sampled_from(
        [
            {"type": "text", "text": "x"},
            {"type": "reasoning", "reasoning": "hm"},
            {"type": "thinking", "thinking": "ho"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"text": "b"}]},
            {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
            {"type": "tool_use", "id": "c"},
            "plain",
        ]
    ),
    max_size=4,
)
CALLS = st.fixed_dictionaries({"id": INTERRUPTS, "name": TEXTS, "args": st.just({})})
MESSAGES: st.SearchStrategy[dict[str, Any]] = (
    st.fixed_dictionaries({"id": TEXTS, "role": st.just("assistant"), "content": TEXTS | BLOCKS})
    | st.fixed_dictionaries(
        {"id": TEXTS, "role": st.just("assistant"), "content": TEXTS, "tool_calls": st.lists(CALLS, max_size=2)}
    )
    | st.fixed_dictionaries(
        {
            "id": TEXTS,
            "role": st.just("tool"),
            "content": TEXTS | BLOCKS,
            "tool_call_id": INTERRUPTS,
            "status": st.sampled_from(["success", "error"]),
        }
    )
)
FINAL = frame(
    "final",
    cursor=CURSORS,
    requestId=REQUESTS,
    message=TEXTS,
    content=st.lists(MESSAGES, max_size=3),
    attempt=ATTEMPTS,
    latencyMs=st.just(5),
    origin=st.sampled_from(["user", "agent"]),
    waiting=st.booleans(),
    revised=st.booleans(),
)
ENDS = (
    FINAL
    | frame("question", cursor=CURSORS, requestId=REQUESTS, interruptId=INTERRUPTS, value=TEXTS)
    | frame("answered", cursor=CURSORS, interruptId=INTERRUPTS, outcome=st.sampled_from(["answered", "superseded"]))
    | frame("cancelled", cursor=CURSORS, requestId=REQUESTS, message=TEXTS)
)
ERROR = st.fixed_dictionaries(
    {"type": st.just("error"), "code": TEXTS | st.just("branch_gone"), "message": TEXTS, "retryable": st.booleans()},
    optional={"cursor": CURSORS, "requestId": REQUESTS, "path": TEXTS},
)
BESIDE = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["reasoning", "aside"]),
        "requestId": REQUESTS,
        "attempt": ATTEMPTS,
        "offset": OFFSETS,
        "messageId": TEXTS,
        "namespace": NAMESPACES,
        "value": TEXTS,
    }
)
LIVE = (
    frame("reset", requestId=REQUESTS, attempt=ATTEMPTS, reason=st.just("started"))
    | frame("token", requestId=REQUESTS, value=TEXTS, attempt=ATTEMPTS, offset=OFFSETS, messageId=TEXTS)
    | frame("custom", requestId=REQUESTS, attempt=ATTEMPTS, offset=OFFSETS, namespace=NAMESPACES, value=TEXTS)
    | BESIDE
    | st.fixed_dictionaries(
        {
            "type": st.just("tool"),
            "requestId": REQUESTS,
            "attempt": ATTEMPTS,
            "offset": OFFSETS,
            "toolCallId": INTERRUPTS,
            "name": TEXTS,
            "phase": st.sampled_from(["started", "finished", "failed"]),
        },
        optional={"data": TEXTS, "namespace": st.sampled_from([["sub:1"], ["sub:2"]])},
    )
)
FRAMES = (
    frame("accepted", requestId=REQUESTS, seq=CURSORS, duplicate=st.booleans())
    | USER
    | LIVE
    | LIVE
    | ENDS
    | ERROR
    | frame("cancelling", requestId=REQUESTS)
    | frame("gap", cursor=CURSORS, reason=st.sampled_from(["retained", "too_far", "unknown_cursor"]))
    | st.fixed_dictionaries({"type": st.just("later")}, optional={"cursor": CURSORS})
)
PAGES = st.fixed_dictionaries(
    {"messages": st.lists(USER | ENDS, max_size=4), "cursor": CURSORS, "before": st.none() | CURSORS}
)
OPTIONS = st.fixed_dictionaries({}, optional={"replaces": REQUESTS, "whenBusy": st.just("interrupt")})
STEPS = st.lists(
    st.fixed_dictionaries({"frame": FRAMES})
    | st.fixed_dictionaries({"frame": FRAMES})
    | st.fixed_dictionaries({"frame": LIVE})
    | st.fixed_dictionaries({"send": st.tuples(REQUESTS, TEXTS).map(list)})
    | st.fixed_dictionaries({"send": st.tuples(REQUESTS, TEXTS, OPTIONS).map(list)})
    | st.fixed_dictionaries({"discard": REQUESTS})
    | st.fixed_dictionaries({"respond": st.tuples(REQUESTS, INTERRUPTS, TEXTS).map(list)})
    | st.fixed_dictionaries({"cancel": REQUESTS})
    | st.fixed_dictionaries({"history": PAGES})
    | st.just({"connected": True}),
    max_size=30,
)


def views(trace: dict[str, Any]) -> list[dict[str, Any]]:
    conversation = Conversation(trace["start"])
    seen = []
    for step in trace["steps"]:
        do(conversation, step)
        seen.append(json.loads(json.dumps(conversation.view())))
    return seen


def test_both_reducers_show_the_same_after_every_step_of_every_trace(twin: Twin) -> None:
    for path in TRACES:
        assert twin.views(load(path)) == views(load(path)), path.stem


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([0, 2, "tail", None]), STEPS)
def test_both_reducers_show_the_same_whatever_happens(twin: Twin, start: Any, steps: list[Any]) -> None:
    trace = {"start": start, "steps": steps}
    assert twin.views(trace) == views(trace)


def test_the_page_comes_back_after_the_same_close_codes_as_every_client() -> None:
    socket = HERE.parents[1] / "entrypoints" / "page" / "socket.js"
    program = (
        f"const m = await import({json.dumps(socket.as_uri())});"
        "console.log(JSON.stringify([[...m.NOW], [...m.NEVER.keys()]]));"
    )
    ran = subprocess.run([node(), "--input-type=module", "-e", program], capture_output=True, text=True, check=True)
    now, never = json.loads(ran.stdout)
    assert set(never) == {int(code) for code in CloseCode if code.reconnects == "never"}
    assert set(now) == {1006} | {int(code) for code in CloseCode if code.reconnects == "now"}
