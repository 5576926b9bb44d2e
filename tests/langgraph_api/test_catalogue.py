"""Threads and assistants by LangGraph's own client, over a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
import pytest_asyncio
from langgraph_sdk import get_client
from langgraph_sdk.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.web.conftest import token_server
from tests.web.rest import Rest
from tests.web.tokens import shared

__all__ = ["token_server"]

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("catalogue"), arguments=["--in-memory"]) as server:
        yield server


@pytest_asyncio.fixture
async def stock(server: Server) -> AsyncIterator[Any]:
    async with get_client(url=f"http://127.0.0.1:{server.port}") as client:
        yield client


async def chat(server: Server, thread: str, words: str, agent: str = "one") -> None:
    async with Client(server.url, thread=thread, user="local", agent=agent) as client:
        await client.answered(await client.say(words))


async def test_a_thread_is_made_described_found_and_deleted(stock: Any) -> None:
    made = await stock.threads.create(metadata={"who": "me"})
    assert (made["status"], made["values"], made["metadata"]) == ("idle", None, {"who": "me"})
    with pytest.raises(ConflictError, match="already exists"):
        await stock.threads.create(thread_id=made["thread_id"])
    assert await stock.threads.create(thread_id=made["thread_id"], if_exists="do_nothing") == made
    changed = await stock.threads.update(made["thread_id"], metadata={"x": 1})
    assert changed["metadata"] == {"who": "me", "x": 1}
    assert await stock.threads.update(made["thread_id"], metadata={"y": 1}, return_minimal=True) is None
    found = await stock.threads.search(metadata={"who": "me"}, select=["thread_id", "status"])
    assert found == [{"thread_id": made["thread_id"], "status": "idle"}]
    assert await stock.threads.count(metadata={"who": "me"}) == 1
    await stock.threads.delete(made["thread_id"])
    for call in (stock.threads.get, stock.threads.delete, stock.threads.get_state, stock.threads.get_history):
        with pytest.raises(NotFoundError):
            await call(made["thread_id"])


async def test_a_thread_of_the_chat_is_there_and_one_made_before_is_talked_to(server: Server, stock: Any) -> None:
    made = await stock.threads.create(metadata={"topic": "chat"})
    thread = made["thread_id"]
    assert (await stock.threads.get_state(thread))["values"] == {}
    assert await stock.threads.get_history(thread) == []
    await chat(server, thread, "hello there")
    told = await stock.threads.get(thread)
    assert told["metadata"]["graph_id"] == "one"
    (graph,) = await stock.assistants.search(graph_id="one")
    assert told["metadata"]["assistant_id"] == graph["assistant_id"]
    for sought in ({"graph_id": "one"}, {"assistant_id": graph["assistant_id"]}, {"topic": "chat"}):
        assert thread in [one["thread_id"] for one in await stock.threads.search(metadata=sought)]
    said = [message["content"] for message in told["values"]["messages"]]
    assert (said[0], len(said)) == ("hello there", 2)
    state = await stock.threads.get_state(thread)
    assert (state["values"], state["next"], state["interrupts"]) == (told["values"], [], [])
    assert state["checkpoint"]["thread_id"] == thread
    assert await stock.threads.get_state(thread, checkpoint=state["checkpoint"]) == state
    only = await stock.threads.get_state(thread, select=["values.messages", "next"])
    assert only == {"values": state["values"], "next": []}
    assert (await stock.threads.get_history(thread))[0] == state


async def test_pages_of_threads_say_how_many_there_are_and_where_they_go_on(server: Server) -> None:
    rest = Rest(server, "pages")
    ids = [rest.ask("POST", "/threads", {}).json["thread_id"] for _ in range(3)]
    asked = {"limit": 2, "sort_by": "created_at", "sort_order": "asc"}
    first = rest.ask("POST", "/threads/search", asked)
    assert [one["thread_id"] for one in first.json] == ids[:2]
    assert (first.headers["x-pagination-total"], first.headers["x-pagination-next"]) == ("3", "2")
    last = rest.ask("POST", "/threads/search", asked | {"offset": 2})
    assert [one["thread_id"] for one in last.json] == ids[2:]
    assert "x-pagination-next" not in last.headers


async def test_an_open_question_is_told_by_thread_and_state(server: Server, stock: Any) -> None:
    thread = (await stock.threads.create())["thread_id"]
    await chat(server, thread, "ask=1", agent="endings")
    told = await stock.threads.get(thread)
    assert told["status"] == "interrupted"
    ((task, asked),) = told["interrupts"].items()
    state = await stock.threads.get_state(thread)
    (pending,) = state["tasks"]
    assert (pending["id"], pending["interrupts"], state["interrupts"]) == (task, asked, asked)
    assert list(state["next"]) == [pending["name"]]


async def test_a_copy_goes_on_by_itself(server: Server, stock: Any) -> None:
    thread = (await stock.threads.create(metadata={"kind": "original"}))["thread_id"]
    await chat(server, thread, "first")
    before = (await stock.threads.get_state(thread))["values"]
    copy: Any = await stock.threads.copy(thread)
    assert copy["metadata"]["kind"] == "original"
    assert copy["values"] == before
    await chat(server, copy["thread_id"], "second")
    assert len((await stock.threads.get_state(copy["thread_id"]))["values"]["messages"]) == 4
    assert (await stock.threads.get_state(thread))["values"] == before


async def test_each_graph_is_an_assistant_and_others_are_made_of_it(stock: Any) -> None:
    (graph,) = await stock.assistants.search(graph_id="nested")
    assert (graph["name"], graph["metadata"]) == ("nested", {"created_by": "system"})
    schemas = await stock.assistants.get_schemas(graph["assistant_id"])
    assert "messages" in schemas["input_schema"]["properties"]
    drawn = await stock.assistants.get_graph(graph["assistant_id"], xray=True)
    assert "inner:think" in [node["id"] for node in drawn["nodes"]]
    assert list(await stock.assistants.get_subgraphs(graph["assistant_id"])) == ["inner"]
    made = await stock.assistants.create("nested", config={"configurable": {"a": 1}}, metadata={"m": 1}, name="mine")
    assert await stock.assistants.search(metadata={"m": 1}) == [made]
    changed = await stock.assistants.update(made["assistant_id"], metadata={"n": 2}, context={"tone": "warm"})
    assert (changed["version"], changed["metadata"], changed["name"]) == (2, {"m": 1, "n": 2}, "mine")
    assert (changed["context"], changed["config"]) == ({"tone": "warm"}, {"configurable": {"tone": "warm"}})
    assert [one["version"] for one in await stock.assistants.get_versions(made["assistant_id"])] == [2, 1]
    assert (await stock.assistants.set_latest(made["assistant_id"], 1))["context"] == {"a": 1}
    with pytest.raises(ConflictError):
        await stock.assistants.create("nested", assistant_id=made["assistant_id"])
    with pytest.raises(ConflictError):
        await stock.assistants.delete(graph["assistant_id"])
    await stock.assistants.delete(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await stock.assistants.get(made["assistant_id"])
    with pytest.raises(NotFoundError, match="Served are"):
        await stock.assistants.create("nothing")


async def test_an_assistant_s_context_is_what_is_configurable(stock: Any) -> None:
    one = await stock.assistants.create("nested", context={"a": 1}, config={"tags": ["x"]})
    assert one["config"] == {"tags": ["x"], "configurable": {"a": 1}}
    for change, config, context in (
        ({"config": {"configurable": {"b": 2}}}, {"configurable": {"b": 2}}, {"b": 2}),
        ({"config": {"configurable": {"c": 3}, "tags": ["y"]}}, {"configurable": {"c": 3}, "tags": ["y"]}, {"c": 3}),
        ({"context": {"d": 4}}, {"configurable": {"d": 4}, "tags": ["y"]}, {"d": 4}),
        ({"context": {}}, {"tags": ["y"]}, {}),
    ):
        changed = await stock.assistants.update(one["assistant_id"], **change)
        assert (changed["config"], changed["context"]) == (config, context)


UNUSABLE: Final[list[tuple[dict[str, Any], str]]] = [
    ({"config": {"configurable": 5}}, "config.configurable"),
    ({"config": {"tags": 7}}, "config.tags"),
    ({"config": {"recursion_limit": "x"}}, "config.recursion_limit"),
    ({"context": [1, 2]}, "context must be an object"),
    ({"context": {"a": 1}, "config": {"configurable": {"b": 2}}}, "both"),
]


@pytest.mark.parametrize(("preset", "named"), UNUSABLE)
async def test_an_assistant_is_looked_at_as_its_runs_are(stock: Any, preset: dict[str, Any], named: str) -> None:
    with pytest.raises(UnprocessableEntityError, match=named):
        await stock.assistants.create("nested", **preset)
    one = await stock.assistants.create("nested")
    with pytest.raises(UnprocessableEntityError, match=named):
        await stock.assistants.update(one["assistant_id"], **preset)
    assert (await stock.assistants.get(one["assistant_id"]))["version"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/threads", [1], "object"),
        ("POST", "/threads", b"{", "JSON"),
        ("POST", "/threads", {"thread_id": "a b"}, "thread ID"),
        ("POST", "/threads", {"ttl": 5}, "ttl"),
        ("POST", "/threads", {"metadata": {"a": "\x00"}}, "metadata"),
        ("POST", "/threads", {"metadata": {"a": "x" * 70_000}}, "metadata"),
        ("POST", "/threads/search", {"limit": 0}, "limit"),
        ("POST", "/threads/search", {"limit": 5_000}, "limit"),
        ("POST", "/threads/search", {"offset": -1}, "offset"),
        ("POST", "/threads/search", {"values": {"a": 1}}, "values"),
        ("POST", "/threads/search", {"select": ["secrets"]}, "select"),
        ("POST", "/threads/search", {"status": "odd"}, "status"),
        ("POST", "/threads/prune", {"thread_ids": [], "strategy": "keep_latest"}, "strategy"),
        ("GET", "/threads/{thread}/state?select=odd", None, "select"),
        ("POST", "/threads/{thread}/state", {"values": {}}, "graph"),
        ("POST", "/threads/{thread}/history", {"limit": 0}, "limit"),
        ("POST", "/threads/{thread}/history", {"before": "\x00"}, "before"),
        ("POST", "/assistants", {}, "graph_id"),
        ("POST", "/assistants", {"graph_id": "one", "config": {"a": "x" * 70_000}}, "config"),
        ("GET", "/assistants/one/graph?xray=99", None, "xray"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_words(
    server: Server, method: str, path: str, body: Any, named: str
) -> None:
    rest = Rest(server, "refused")
    thread = rest.ask("POST", "/threads", {}).json["thread_id"]
    reply = rest.ask(method, path.format(thread=thread), body)
    assert reply.status == 422, reply.body
    assert reply.json.keys() == {"detail"}
    assert re.search(named, reply.json["detail"]), reply.json


async def test_a_user_s_threads_are_counted_before_anything_runs_in_them(token_server: Server) -> None:
    async with get_client(
        url=f"http://127.0.0.1:{token_server.port}", headers={"Authorization": f"Bearer {shared('catalogue')}"}
    ) as client:
        for _ in range(2):
            await client.threads.create()
        with pytest.raises(ConflictError, match="2 threads"):
            await client.threads.create()
    async with get_client(url=f"http://127.0.0.1:{token_server.port}") as nobody:
        with pytest.raises(Exception, match="token") as refusal:
            await nobody.threads.create()
        assert getattr(refusal.value, "status_code", None) == 401


async def test_a_timetable_is_refused_in_words_wherever_it_is_asked_for(stock: Any) -> None:
    asked = (
        stock.crons.create("one", schedule="* * * * *"),
        stock.crons.create_for_thread("somewhere", "one", schedule="* * * * *"),
        stock.crons.search(),
        stock.crons.count(),
        stock.crons.update("a", schedule="* * * * *"),
        stock.crons.delete("a"),
    )
    for each in asked:
        with pytest.raises(NotFoundError, match="by a timetable"):
            await each


async def test_a_state_is_written_in_order_with_the_turns_and_refused_in_words(server: Server, stock: Any) -> None:
    thread = (await stock.threads.create(graph_id="one"))["thread_id"]
    written = await stock.threads.update_state(
        thread, {"messages": [{"role": "user", "content": "by hand", "id": "m1"}]}, as_node="__start__"
    )
    state = await stock.threads.get_state(thread)
    assert written["checkpoint"] == state["checkpoint"]
    assert [message["content"] for message in state["values"]["messages"]] == ["by hand"]
    await chat(server, thread, "and on")
    assert len((await stock.threads.get_state(thread))["values"]["messages"]) == 3
    with pytest.raises(BadRequestError, match="nobody"):
        await stock.threads.update_state(thread, {"messages": []}, as_node="nobody")
    assert len((await stock.threads.get_state(thread))["values"]["messages"]) == 3
    assert (await stock.threads.get(thread))["status"] == "idle", "the failure is its caller's, and not the thread's"


async def test_states_written_at_once_are_written_one_after_another_and_each_is_told_its_own(stock: Any) -> None:
    thread = (await stock.threads.create(graph_id="one"))["thread_id"]

    async def write(number: int) -> Any:
        said = {"role": "user", "content": f"number {number}", "id": f"m{number}"}
        return await stock.threads.update_state(thread, {"messages": [said]}, as_node="__start__")

    await write(0)
    written = await asyncio.gather(*(write(number) for number in range(1, 7)))
    assert len({one["checkpoint_id"] for one in written}) == 6
    history = await stock.threads.get_history(thread)
    of = {state["checkpoint_id"]: [said["id"] for said in state["values"]["messages"]] for state in history}
    assert [of[one["checkpoint"]["checkpoint_id"]][-1] for one in written] == [f"m{number}" for number in range(1, 7)]
    assert [len(said) for said in of.values()] == [7, 6, 5, 4, 3, 2, 1]


async def test_a_thread_whose_state_was_written_tells_whether_something_is_to_run_next(stock: Any) -> None:
    thread = (await stock.threads.create())["thread_id"]
    asked = {"messages": [{"role": "user", "content": "hello"}]}

    async def stands() -> tuple[str, bool, bool]:
        found = await stock.threads.search(status="interrupted", ids=[thread])
        state = await stock.threads.get_state(thread)
        return (await stock.threads.get(thread))["status"], bool(state["next"]), bool(found)

    await stock.runs.wait(thread, "three", input=asked, interrupt_before=["write"])
    assert await stands() == ("interrupted", True, True)
    await stock.threads.update_state(thread, {"messages": []})
    assert await stands() == ("interrupted", True, True)
    await stock.runs.wait(thread, "three", input=None)
    assert await stands() == ("idle", False, False)


@pytest.mark.parametrize("sought", [{"a": ["x" * 40] * 200}, {"a": [[n] for n in range(17)]}])
async def test_what_is_looked_for_is_short(stock: Any, sought: dict[str, Any]) -> None:
    """Comparing long lists with each other would keep everybody waiting."""
    for search in (stock.threads.search, stock.threads.count, stock.assistants.search, stock.assistants.count):
        with pytest.raises(UnprocessableEntityError, match="looked for"):
            await search(metadata=sought)


async def test_an_answer_with_many_threads_is_not_longer_than_one_may_be(stock: Any) -> None:
    note = {"many": "x" * (60 << 10)}
    for _ in range(28):
        await asyncio.gather(*(stock.threads.create(metadata=note) for _ in range(20)))
    for select in (None, ["metadata"]):
        with pytest.raises(UnprocessableEntityError, match="ask for fewer"):
            await stock.threads.search(limit=560, select=select)
    assert len(await stock.threads.search(limit=560, select=["thread_id"])) == 560


async def test_a_thread_s_assistant_is_the_one_that_ran_there_last(stock: Any) -> None:
    mine = (await stock.assistants.create("one", name="mine", metadata={"mine": True}))["assistant_id"]
    thread = (await stock.threads.create(metadata={"assistant_id": "nobody's"}))["thread_id"]
    made = "55555555-5555-4555-8555-555555555555"
    asked = {"messages": [{"role": "user", "content": "hello"}]}

    async def of(assistant: str) -> set[str]:
        return {one["thread_id"] for one in await stock.threads.search(metadata={"assistant_id": assistant})}

    for name in (thread, made):
        await stock.runs.wait(name, mine, input=asked, if_not_exists="create")
        metadata = (await stock.threads.get(name))["metadata"]
        assert metadata == {"assistant_id": mine, "graph_id": "one"}
    assert await of(mine) == {thread, made}
    await stock.runs.wait(thread, "one", input=asked)
    own = (await stock.threads.get(thread))["metadata"]["assistant_id"]
    assert own == (await stock.assistants.search(graph_id="one", metadata={"created_by": "system"}))[0]["assistant_id"]
    assert await of(mine) == {made}
    assert thread in await of(own)


async def test_a_thread_that_comes_to_be_with_a_run_is_noted_with_the_run_s_metadata(stock: Any) -> None:
    made, asked = "66666666-6666-4666-8666-666666666666", {"messages": [{"role": "user", "content": "hello"}]}
    config = {"metadata": {"of": "the config", "both": 0}}
    for both in (1, 2):  # the second run finds the thread, and notes nothing
        await stock.runs.wait(made, "one", input=asked, config=config, metadata={"both": both}, if_not_exists="create")
    metadata = (await stock.threads.get(made))["metadata"]
    assert {name: metadata[name] for name in ("of", "both", "graph_id")} == {
        "of": "the config",
        "both": 1,
        "graph_id": "one",
    }
    assert [run["metadata"]["both"] for run in await stock.runs.list(made)] == [2, 1]
    kept = await stock.runs.create(None, "one", input=asked, metadata={"kept": 7}, on_completion="keep")
    assert [one["thread_id"] for one in await stock.threads.search(metadata={"kept": 7})] == [kept["thread_id"]]


async def test_a_run_that_is_refused_leaves_no_thread_behind(stock: Any) -> None:
    with pytest.raises(UnprocessableEntityError):
        await stock.runs.create(None, "one", input={"messages": "\x00"}, metadata={"left": 7})
    assert await stock.threads.search(metadata={"left": 7}) == []
