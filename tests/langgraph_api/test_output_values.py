"""What a graph's output schema leaves out stays in its state, and is told to no follower of its runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.end_to_end.server import Server
from unbroken.entrypoints.langgraph_api.output_values import narrowed

MODES: Any = ["values", "updates"]


@pytest.mark.parametrize(
    ("method", "said", "told"),
    [
        ("values", {"a": 1, "p": 2}, {"a": 1}),
        ("values", {"p": 2}, {}),
        ("values", {"a": 1, "p": 2, "__interrupt__": [3]}, {"a": 1, "__interrupt__": [3]}),
        ("values", [1, "p"], [1, "p"]),
        ("updates", {"node": {"a": {"p": 1}, "p": 2}}, {"node": {"a": {"p": 1}}}),
        ("updates", {"node": {"p": 2}, "other": None}, {"node": None, "other": None}),
        ("updates", {"node": [{"a": 1}, {"p": 2}]}, {"node": {"a": 1}}),
        ("updates", {"node": [{"a": 1, "p": 1}, {"p": 2}, {"a": 3}]}, {"node": [{"a": 1}, {"a": 3}]}),
        ("updates", {"node": [{"p": 1}, {"p": 2}]}, {"node": None}),
        ("updates", {"__interrupt__": [{"value": {"p": 1}}]}, {"__interrupt__": [{"value": {"p": 1}}]}),
        (
            "updates",
            {"node": {"p": 1}, "__metadata__": {"cached": True}},
            {"node": None, "__metadata__": {"cached": True}},
        ),
    ],
)
def test_only_what_is_given_away_is_told(method: str, said: Any, told: Any) -> None:
    assert json.loads(narrowed(method, json.dumps(said).encode(), frozenset({"a", "b"}))) == told


@pytest_asyncio.fixture
async def client(memory_server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=f"http://127.0.0.1:{memory_server.port}") as client:
        yield client


@pytest.mark.asyncio
async def test_whoever_follows_a_run_is_told_its_output(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    given: Any = {"question": "why", "messages": [{"role": "user", "content": "hello"}]}
    streamed = [part async for part in client.runs.stream(thread, "discreet", input=given, stream_mode=MODES)]
    updates = [part.data for part in streamed if part.event == "updates"]
    assert updates == [{"look": None}, {"tell": {"answer": "why!"}}]
    values = [part.data for part in streamed if part.event == "values"]
    assert values[-1] == {"answer": "why!"}
    assert all(one in ({}, {"answer": "why!"}) for one in values)
    (run,) = await client.runs.list(thread)
    assert await client.runs.join(thread, run["run_id"]) == {"answer": "why!"}
    later = [part async for part in client.runs.join_stream(thread, run["run_id"], stream_mode=MODES)]
    assert [part.data for part in later if part.event == "values"] == [{"answer": "why!"}]
    assert "SECRET" not in repr((streamed, later))
    state: Any = await client.threads.get_state(thread)
    assert state["values"]["secret"] == "SECRET still"
    remote = RemoteGraph("discreet", client=client)
    assert await remote.ainvoke({"question": "how", "messages": []}) == {"answer": "how!"}


@pytest.mark.asyncio
async def test_a_question_s_values_are_the_output_and_its_answer_s_too(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    asked: Any = await client.runs.wait(thread, "discreet", input={"question": "ask", "messages": []})
    assert (asked.keys(), asked["__interrupt__"][0]["value"]) == ({"__interrupt__"}, "sure?")
    assert await client.runs.wait(thread, "discreet", command={"resume": "yes"}) == {"answer": "ask!yes"}


@pytest.mark.asyncio
async def test_an_ag_ui_front_end_sees_the_conversation_and_the_output(memory_server: Server) -> None:
    thread = str(uuid4())
    body: dict[str, Any] = {
        "threadId": thread,
        "runId": "r1",
        "state": {"question": "why"},
        "messages": [{"id": "m1", "role": "user", "content": "hello"}],
        "tools": [],
        "context": [],
        "forwardedProps": {},
    }
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{memory_server.port}", timeout=60) as http:
        for run_id in ("r1", "r2"):  # the second has nothing new to say, and is told where the thread stands
            reply = await http.post("/agui/discreet", json=body | {"runId": run_id})
            told = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: ")]
            states = [event["snapshot"] for event in told if event["type"] == "STATE_SNAPSHOT"]
            assert states[-1] == {"answer": "why!"}
            (*_, spoken) = [event["messages"] for event in told if event["type"] == "MESSAGES_SNAPSHOT"]
            assert [message["content"] for message in spoken] == ["hello", "as told"]
            assert "SECRET" not in reply.text
            body["messages"] = spoken
