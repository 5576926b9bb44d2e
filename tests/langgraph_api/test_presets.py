"""What an assistant presets, or a run was started with, holds for all that belongs to the run: whoever answers what it
asks goes on with it, and a graph that is made by it can be read."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from langgraph_sdk import get_client

from tests.end_to_end.client import Client
from tests.end_to_end.server import ROOT, Server

pytestmark = pytest.mark.asyncio

HELLO = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("preset")
    shutil.copytree(ROOT / "tests" / "projects" / "preset", folder, dirs_exist_ok=True)
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
