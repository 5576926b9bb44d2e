"""What an assistant presets, or a run was started with, holds for all that belongs to the run: whoever answers what it
asks goes on with it, and a graph that is made by it can be read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from langgraph_sdk import get_client
from langgraph_sdk.errors import InternalServerError

from tests.end_to_end.client import Client
from tests.end_to_end.projects import laid_out
from tests.end_to_end.server import Server

pytestmark = pytest.mark.asyncio

HELLO = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("preset")
    laid_out(folder, "preset")
    with Server(folder, agents={}, arguments=["--in-memory"]) as server:
        yield server
        assert "Traceback" not in server.said()


@pytest_asyncio.fixture
async def client(project: Server) -> AsyncIterator[Any]:
    async with get_client(url=f"http://127.0.0.1:{project.port}") as client:
        yield client


class Talk:
    """One thread whose run asks."""

    def __init__(self, server: Server, client: Any, thread: str, assistant: str) -> None:
        self.server, self.client = server, client
        self.thread, self.assistant = thread, assistant

    async def question(self) -> str:
        state: Any = await self.client.threads.get_state(self.thread)
        return str(state["interrupts"][0]["id"])

    async def ended(self) -> str:
        (newest, *_) = await self.client.runs.list(self.thread)
        await self.client.runs.join(self.thread, newest["run_id"])
        state: Any = await self.client.threads.get_state(self.thread)
        return str(state["values"]["messages"][-1]["content"])


async def by_run(talk: Talk, answer: str) -> None:
    await talk.client.runs.wait(talk.thread, talk.assistant, command={"resume": answer})


async def by_run_of_the_graph(talk: Talk, answer: str) -> None:
    await talk.client.runs.wait(talk.thread, "asking", command={"resume": answer})


async def by_command(talk: Talk, answer: str) -> None:
    params = {"interrupt_id": await talk.question(), "response": answer}
    body = {"id": 1, "method": "input.respond", "params": params}
    told: Any = await talk.client.http.post(f"/threads/{talk.thread}/commands", json=body)
    assert told["type"] == "success", told
    await talk.client.runs.join(talk.thread, told["result"]["run_id"])
    run: Any = await talk.client.runs.get(talk.thread, told["result"]["run_id"])
    assert run["assistant_id"] == talk.assistant


async def by_chat(talk: Talk, answer: str) -> None:
    async with Client(talk.server.url, thread=talk.thread, agent="asking") as chat:
        own = await talk.question()

        def asked(chat: Client) -> list[str]:
            ids = [frame["interruptId"] for frame in chat.view.log if frame["type"] == "question"]
            return [id_ for id_ in ids if id_.startswith(own)][-1:]

        await chat.until(lambda chat: bool(asked(chat)))
        await chat.answered(await chat.respond(asked(chat)[0], answer))


async def by_front_end(talk: Talk, answer: str) -> None:
    resume = [{"interruptId": await talk.question(), "status": "resolved", "payload": answer}]
    body = {"threadId": talk.thread, "runId": uuid4().hex, "messages": [], "resume": resume}
    async with talk.client.http.client.stream("POST", "/agui/asking", json=body) as told:
        assert "RUN_FINISHED" in (await told.aread()).decode()


WAYS = (by_run, by_run_of_the_graph, by_command, by_chat, by_front_end)
Way = Callable[[Talk, str], Awaitable[None]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("preset", "seen"),
    [({"context": {"tenant": "acme"}}, "acme, none"), ({"config": {"configurable": {"model": "m1"}}}, "nobody, m1")],
    ids=["context", "config"],
)
async def test_an_answer_goes_on_with_what_the_run_that_asked_was_given(
    project: Server, client: Any, preset: dict[str, Any], seen: str, way: Way
) -> None:
    assistant = await client.assistants.create("asking", **preset)
    for first, second in ((by_chat, way), (way, by_chat)):
        thread = await client.threads.create()
        talk = Talk(project, client, thread["thread_id"], assistant["assistant_id"])
        await client.runs.wait(talk.thread, talk.assistant, input=HELLO)
        await first(talk, "a")
        await second(talk, "b")
        assert await talk.ended() == f"a b: {seen}"


async def test_what_a_run_was_given_for_itself_stands_before_what_its_assistant_presets(
    project: Server, client: Any
) -> None:
    assistant = await client.assistants.create("asking", config={"configurable": {"model": "m1"}})
    thread = await client.threads.create()
    talk = Talk(project, client, thread["thread_id"], assistant["assistant_id"])
    own = {"configurable": {"model": "m2"}}
    await client.runs.wait(talk.thread, talk.assistant, input=HELLO, config=own)
    await by_run(talk, "a")
    state: Any = await client.threads.get_state(talk.thread)
    asked_at = state["checkpoint"]["checkpoint_id"]
    await by_command(talk, "b")
    assert await talk.ended() == "a b: nobody, m2"
    fork = {"id": 1, "method": "state.fork", "params": {"checkpoint_id": asked_at}}
    told: Any = await client.http.post(f"/threads/{talk.thread}/commands", json=fork)
    assert told["type"] == "success", told
    await talk.ended()
    await by_run_of_the_graph(talk, "c")  # the fork has asked both questions anew
    await by_run_of_the_graph(talk, "d")
    assert await talk.ended() == "c d: nobody, m2"


async def test_what_an_answer_brings_itself_stands_before_what_the_run_was_given(project: Server, client: Any) -> None:
    thread = await client.threads.create()
    talk = Talk(project, client, thread["thread_id"], "asking")
    given = {"configurable": {"model": "m1", "tenant": "acme"}}
    await client.runs.wait(talk.thread, "asking", input=HELLO, config=given)
    await by_run(talk, "a")
    own = {"configurable": {"model": "m2"}}
    await client.runs.wait(talk.thread, "asking", command={"resume": "b"}, config=own)
    assert await talk.ended() == "a b: acme, m2"


async def test_a_message_after_a_run_is_given_nothing_of_it(project: Server, client: Any) -> None:
    thread = await client.threads.create()
    talk = Talk(project, client, thread["thread_id"], "asking")
    await client.runs.wait(talk.thread, "asking", input=HELLO, config={"configurable": {"model": "m1"}})
    async with Client(project.url, thread=talk.thread, agent="asking") as chat:
        await chat.answered(await chat.say("something else"))
    await by_chat(talk, "a")
    await by_run_of_the_graph(talk, "b")
    assert await talk.ended() == "a b: nobody, none"


async def front_end(client: Any, agent: str, thread: str, text: str) -> list[dict[str, Any]]:
    """What an AG-UI front end is told of a run with this message."""
    message = {"id": uuid4().hex, "role": "user", "content": text}
    body = {"threadId": thread, "runId": uuid4().hex, "messages": [message]}
    async with client.http.client.stream("POST", f"/agui/{agent}", json=body) as told:
        lines = (await told.aread()).decode().splitlines()
        assert told.status_code == 200, lines
    return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]


@pytest.mark.parametrize("preset", [{"config": {"configurable": {"model": "m1"}}}, {"context": {"model": "m1"}}])
async def test_a_graph_that_is_made_by_its_runs_config_can_be_read(client: Any, preset: dict[str, Any]) -> None:
    assistant = (await client.assistants.create("made", **preset))["assistant_id"]
    drawn = await client.assistants.get_graph(assistant)
    assert "speak-m1" in [node["id"] for node in drawn["nodes"]]
    assert (await client.assistants.get_schemas(assistant))["state_schema"]["properties"]
    assert await client.assistants.get_subgraphs(assistant) == {}
    thread = (await client.threads.create())["thread_id"]
    values = await client.runs.wait(thread, assistant, input=HELLO)
    assert [message["content"] for message in values["messages"]] == ["hello", "m1 says 1"]
    assert (await client.threads.get_state(thread))["values"] == values
    assert (await client.threads.get(thread))["values"] == values
    assert (await client.threads.get_history(thread))[0]["values"] == values
    told = await client.http.post(f"/threads/{thread}/commands", json={"id": 1, "method": "state.get", "params": {}})
    assert told["result"]["values"] == values
    await client.threads.update_state(thread, {"messages": [{"role": "ai", "content": "written"}]})
    assert (await client.threads.get_state(thread))["values"]["messages"][-1]["content"] == "written"
    assert (await front_end(client, assistant, thread, "more"))[-1]["type"] == "RUN_FINISHED"
    other = {"configurable": {"model": "m2"}}
    values = await client.runs.wait(thread, assistant, input=HELLO, config=other)
    assert values["messages"][-1]["content"] == "m2 says 6"
    state = await client.threads.get_state(thread)
    assert state["values"] == values


async def test_a_state_that_cannot_be_read_is_told_within_the_response(client: Any) -> None:
    thread = (await client.threads.create())["thread_id"]
    error = {"error": "RuntimeError", "message": "nothing is made to be looked at"}
    assert await client.runs.wait(thread, "unreadable", input=HELLO, raise_error=False) == {"__error__": error}
    streamed = [part async for part in client.runs.stream(thread, "unreadable", input=HELLO, stream_mode="values")]
    assert (streamed[-1].event, streamed[-1].data) == ("error", error)
    assert "m1 says" not in str(streamed)  # what of its state may be shown, the graph alone knows
    (run, *_) = await client.runs.list(thread)
    assert run["status"] == "success"
    with pytest.raises(InternalServerError, match="nothing is made to be looked at"):
        await client.threads.get_state(thread)
    told = await front_end(client, "unreadable", str(uuid4()), "hello")
    assert (told[-1]["type"], told[-1]["message"]) == ("RUN_ERROR", "RuntimeError: nothing is made to be looked at")
    body = {"threadId": thread, "runId": uuid4().hex, "messages": [{"id": "m", "role": "user", "content": "hello"}]}
    refused = await client.http.client.post("/agui/unreadable", json=body)
    assert (refused.status_code, "nothing is made to be looked at" in refused.text) == (500, True)
