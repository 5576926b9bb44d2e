"""Public LangGraph projects, unmodified, over real sockets; the provider's address is set by environment alone.

`make examples FOLDER=…` runs them; nothing else does, and CI has no checkouts (docs/examples.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.examples.checkouts import ALL, EMAIL, MEMORY, REACT, VARIABLE, Example, serving
from tests.examples.provider import serve

pytestmark = pytest.mark.asyncio

MAIL = {
    "email_input": {
        "author": "Ann <ann@example.org>",
        "to": "Lance <lance@example.org>",
        "subject": "Tea",
        "email_thread": "Shall we have tea?",
    }
}
ACCEPTED = [{"type": "accept"}]


@pytest.fixture(scope="module")
def checkouts() -> Path:
    assert VARIABLE in os.environ, "begin with: make examples FOLDER=…"
    return Path(os.environ[VARIABLE])


@pytest.fixture
def provider() -> Iterator[int]:
    server = serve(0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def started(
    checkouts: Path, folder: Path, new_database: Callable[[int], str], provider: int
) -> Iterator[Callable[[Example], Server]]:
    """Serves a project."""
    servers: list[Server] = []

    def start(example: Example) -> Server:
        server = serving(example, folder, folder=checkouts, database_url=new_database(18), provider_port=provider)
        servers.append(server)
        server.start()
        server.wait_ready()
        return server

    yield start
    for server in servers:
        server.stop()


def client_of(server: Server) -> LangGraphClient:
    return get_client(url=server.url.replace("ws:", "http:"))


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.repository)
async def test_a_project_is_as_its_authors_left_it(checkouts: Path, example: Example) -> None:
    assert example.state(checkouts) == (example.commit, "")


async def test_a_template_with_tools_and_a_context_answers(started: Callable[[Example], Server], thread: str) -> None:
    server = started(REACT)
    async with Client(server.url, thread=thread, agent="agent") as client:
        request = await client.say("please search for the weather")
        (final,) = await client.answered(request)
        assert "You said: please search for the weather. I found:" in final["message"]
        tools = [
            frame["phase"] for frame in client.view.frames if frame["type"] == "tool" and frame["name"] == "search"
        ]
        assert tools[0] == "started"
        assert tools[-1] in ("finished", "failed"), "there is no network to search in"
    async with client_of(server) as sdk:
        made = await sdk.threads.create()
        given: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
        brief = {"system_prompt": "Be brief."}
        state: Any = await sdk.runs.wait(made["thread_id"], "agent", input=given, context=brief)
    assert state["messages"][-1]["type"] == "ai"
    assert "You said: hello." in json.dumps(state["messages"][-1]["content"])


async def test_a_template_with_a_store_remembers_over_threads_and_restarts(
    started: Callable[[Example], Server], thread: str
) -> None:
    server = started(MEMORY)
    async with Client(server.url, thread=thread, agent="agent") as client:
        request = await client.say("remember that I like tea")
        (final,) = await client.answered(request)
        assert "I found: Stored memory" in final["message"]
    await asyncio.to_thread(server.kill)
    server.start()
    await asyncio.to_thread(server.wait_ready)
    async with Client(server.url, thread=f"{thread}-2", agent="agent") as client:
        request = await client.say("what do you know of me?")
        (final,) = await client.answered(request)
        assert final["message"].strip() == "You said: what do you know of me?. I remember: likes tea."


@pytest.mark.parametrize("graph", ["email_assistant_hitl", "email_assistant_hitl_memory"])
async def test_a_question_of_a_project_is_answered_after_a_kill(
    started: Callable[[Example], Server], thread: str, graph: str
) -> None:
    """A state that is no conversation, `Command`, and a question asked within a subgraph; answered by a chat."""
    server = started(EMAIL)
    async with Client(server.url, thread=thread, agent=graph, stays=True) as client:
        request = await client.say(json.dumps(MAIL))
        await client.answered(request)
        await client.until(lambda c: any(frame["type"] == "question" for frame in c.view.log))
        question = next(frame for frame in client.view.log if frame["type"] == "question")
        assert question["value"][0]["action_request"]["action"] == "write_email"
        await asyncio.to_thread(server.kill)
        server.start()
        await asyncio.to_thread(server.wait_ready)
        reply = await client.respond(question["interruptId"], ACCEPTED)
        (final,) = await client.answered(reply)
        values = json.loads(final["message"])
        assert values["classification_decision"] == "respond"
        assert [message["type"] for message in values["messages"]] == ["human", "ai", "tool", "ai"]
        assert client.view.faults == []


async def test_a_question_of_a_project_is_answered_over_rest_after_a_kill(
    started: Callable[[Example], Server],
) -> None:
    server = started(EMAIL)
    async with client_of(server) as sdk:
        made = await sdk.threads.create()
        await sdk.runs.wait(made["thread_id"], "email_assistant_hitl", input=MAIL)
        state = await sdk.threads.get_state(made["thread_id"])
        assert state["next"] == ["response_agent"]
    await asyncio.to_thread(server.kill)
    server.start()
    await asyncio.to_thread(server.wait_ready)
    async with client_of(server) as sdk:
        values: Any = await sdk.runs.wait(made["thread_id"], "email_assistant_hitl", command={"resume": ACCEPTED})
        assert [message["type"] for message in values["messages"]] == ["human", "ai", "tool", "ai"]
        assert (await sdk.threads.get_state(made["thread_id"]))["next"] == []
