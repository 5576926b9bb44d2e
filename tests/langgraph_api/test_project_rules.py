"""A project's own `auth`: who is let in, and what its rules let each see and do, over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from httpx import AsyncClient, HTTPStatusError, RemoteProtocolError
from langgraph_sdk import get_client
from langgraph_sdk.errors import AuthenticationError, ConflictError, NotFoundError, PermissionDeniedError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.projects import laid_out
from tests.end_to_end.server import Server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    laid_out(folder, "guarded")
    again = {"UNBROKEN_ASK_AGAIN_S": "0.1"}
    with Server(folder, agents={}, arguments=["--in-memory"], environment=again) as server:
        yield server


People = Callable[[str | None], Any]


@pytest_asyncio.fixture
async def people(guarded: Server) -> AsyncIterator[People]:
    """LangGraph's client, of whoever says to be somebody."""
    async with AsyncExitStack() as stack:
        made: dict[str | None, Any] = {}
        for name in (
            None,
            "ann",
            "bob",
            "carl",
            "fay",
            "fay.green",
            "gus.red",
            "gus.blue",
            "hal.green",
            "mallory",
            "broken",
        ):
            headers = {"Authorization": f"Bearer {name}"} if name else {}
            client = get_client(url=f"http://127.0.0.1:{guarded.port}", headers=headers)
            made[name] = await stack.enter_async_context(client)
        yield made.__getitem__


@pytest.mark.asyncio
async def test_only_whom_the_project_knows_is_let_in(people: People) -> None:
    for name, error in (
        (None, AuthenticationError),
        ("mallory", PermissionDeniedError),
        ("broken", AuthenticationError),
    ):
        with pytest.raises(error):
            await people(name).threads.create()
    assert (await people(None).http.get("/ok"))["ok"]
    assert await people("ann").assistants.count() == 2


@pytest.mark.asyncio
async def test_rules_note_what_they_set_and_find_it_again(people: People) -> None:
    ann = people("ann")
    made = await ann.threads.create(metadata={"x": 1})
    assert made["metadata"] == {"x": 1, "team": "red"}
    assert made["thread_id"] in [one["thread_id"] for one in await ann.threads.search(metadata={"x": 1})]
    with pytest.raises(PermissionDeniedError, match="sealed"):
        await ann.threads.create(metadata={"sealed": True})
    with pytest.raises(PermissionDeniedError):
        await ann.threads.delete(made["thread_id"])
    assert await ann.threads.prune([made["thread_id"]]) == {"pruned_count": 0}
    for call in (people("bob").threads.get, people("bob").threads.get_state):
        with pytest.raises(NotFoundError):
            await call(made["thread_id"])
    with pytest.raises(PermissionDeniedError, match="name"):
        await ann.assistants.create("who")
    assert (await ann.assistants.create("who", name="mine"))["name"] == "mine"


@pytest.mark.asyncio
async def test_a_run_knows_its_user_and_its_thread_is_noted(people: People) -> None:
    ann = people("ann")
    asked = {"messages": [{"role": "user", "content": "for whom?"}]}
    thread = "11111111-1111-4111-8111-111111111111"
    ended = await ann.runs.wait(thread, "who", input=asked, if_not_exists="create")
    assert ended["messages"][-1]["content"] == "for ann, red, ann"
    told = await ann.threads.get(thread)
    assert told["metadata"]["team"] == "red"
    assert thread in [one["thread_id"] for one in await ann.threads.search(metadata={"team": "red"})]
    with pytest.raises(HTTPStatusError, match="403"):
        await ann.runs.wait(thread, "who", input=asked, metadata={"sealed": True})
    stateless = await ann.runs.wait(None, "who", input=asked)
    assert stateless["messages"][-1]["content"] == "for ann, red, ann"
    for run in await ann.runs.list(thread):
        with pytest.raises(NotFoundError):
            await people("bob").runs.get(thread, run["run_id"])


@pytest.mark.asyncio
async def test_a_run_without_a_thread_is_its_owner_s_to_follow_and_nobody_else_s(people: People) -> None:
    """Nor that of the same person in another team: the rules alone tell those two apart."""
    gus, asked = people("gus.red"), {"messages": [{"role": "user", "content": "for whom?"}]}
    run = await gus.runs.create(None, "who", input=asked, on_completion="keep")
    place = (run["thread_id"], run["run_id"])
    assert (await gus.runs.join(*place))["messages"][-1]["content"] == "for gus, red, gus"
    assert (await gus.runs.get(*place))["status"] == "success"
    assert [part.event async for part in gus.runs.join_stream(*place)][-1] == "values"
    told = await gus.threads.get(run["thread_id"])
    assert told["metadata"]["team"] == "red"
    with pytest.raises(NotFoundError, match="ended already"):
        await gus.runs.cancel(*place)
    for other in (people("gus.blue"), people("bob")):
        for call in (other.runs.get, other.runs.cancel):
            with pytest.raises(NotFoundError, match="no such thread"):
                await call(*place)
        with pytest.raises(HTTPStatusError, match="404"):
            await other.runs.join(*place)
        with pytest.raises(NotFoundError):
            await anext(other.runs.join_stream(*place))
        with pytest.raises(NotFoundError):
            await other.threads.get(run["thread_id"])
        assert run["thread_id"] not in [one["thread_id"] for one in await other.threads.search(limit=100)]


@pytest.mark.asyncio
async def test_who_says_what_the_rules_would_set_finds_the_thread_again(people: People) -> None:
    thread = "44444444-4444-4444-8444-444444444444"
    said = {"team": "red", "graph_id": "another", "note": 1}
    await people("ann").runs.wait(thread, "who", input={"messages": []}, metadata=said, if_not_exists="create")
    metadata = (await people("ann").threads.get(thread))["metadata"]
    assert (metadata["team"], metadata["graph_id"], metadata["note"]) == ("red", "who", 1)


@pytest.mark.asyncio
async def test_what_makes_a_graph_knows_who_reads_and_writes_a_state_as_it_knows_who_runs(
    guarded: Server, people: People
) -> None:
    ann = people("ann")
    thread = "33333333-3333-4333-8333-333333333333"
    asked = {"messages": [{"role": "user", "content": "for whom?"}]}
    parts = ann.runs.stream(thread, "made", input=asked, stream_mode=["updates"], if_not_exists="create")
    assert [part.event async for part in parts] == ["metadata", "updates"]
    (run,) = await ann.runs.list(thread)
    values = await ann.runs.join(thread, run["run_id"])
    assert values["messages"][-1]["content"] == "for ann, red, ann"
    assert (await ann.threads.get_state(thread))["values"] == values
    assert (await ann.threads.get(thread))["values"] == values
    assert (await ann.threads.get_history(thread))[0]["values"] == values
    place = (await ann.threads.update_state(thread, {"messages": []}))["checkpoint"]
    assert (await ann.threads.get_state(thread, checkpoint=place))["values"] == values
    assert (await ann.assistants.get_schemas("made"))["state_schema"]
    assert (await ann.assistants.get_graph("made"))["nodes"]
    assert await ann.assistants.get_subgraphs("made") == {}
    ended = [part.data async for part in ann.runs.join_stream(thread, run["run_id"], stream_mode="values")]
    assert ended[-1] == values
    async with AsyncClient(base_url=f"http://127.0.0.1:{guarded.port}", trust_env=False) as http:
        http.headers["Authorization"] = "Bearer ann"
        for method in ("state.get", "state.listCheckpoints"):
            command: dict[str, Any] = {"id": 1, "method": method, "params": {}}
            answer = (await http.post(f"/threads/{thread}/commands", json=command)).json()
            assert answer["type"] == "success", answer
        front = {"threadId": thread, "runId": "front", "messages": [], "state": {}}
        told = await http.post("/agui/made", json=front)
        assert "for ann, red, ann" in told.text


@pytest.mark.asyncio
async def test_a_thread_that_the_rules_hide_is_hidden_from_every_way_in(people: People) -> None:
    ann = people("ann")
    thread = (await ann.threads.create())["thread_id"]
    await ann.threads.update(thread, metadata={"note": "moved"})
    carl = people("carl")
    with pytest.raises(NotFoundError):
        await carl.runs.create(thread, "who", input={"messages": []})
    with pytest.raises(NotFoundError):
        await carl.threads.update_state(thread, {"messages": []})


@pytest.mark.asyncio
async def test_a_thread_that_the_rules_hide_tells_a_front_end_nothing_and_loses_no_run(
    guarded: Server, people: People
) -> None:
    thread, run = "22222222-2222-4222-8222-222222222222", "the run"
    body = {"threadId": thread, "runId": run, "messages": [{"id": "m", "role": "user", "content": "for whom?"}]}
    again: dict[str, Any] = body | {"messages": []}
    async with AsyncClient(base_url=f"http://127.0.0.1:{guarded.port}", trust_env=False) as http:
        red, green = ({"Authorization": f"Bearer {name}"} for name in ("hal.red", "hal.green"))
        for given in (body, again, again | {"runId": "another"}):
            assert "for hal, red" in (await http.post("/agui/who", json=given, headers=red)).text
        for given in (body, again, again | {"runId": "another"}):
            assert "hal, red" not in (await http.post("/agui/who", json=given, headers=green)).text
    with pytest.raises(NotFoundError, match="no such thread"):
        await people("hal.green").http.post("/runs/cancel", json={"thread_id": thread, "run_ids": [run]})


@pytest.mark.asyncio
async def test_each_has_a_corner_of_the_memory_where_the_rules_say_so(people: People) -> None:
    ann, bob = people("ann"), people("bob")
    await ann.store.put_item(["notes"], "k", {"v": 1})
    assert (await ann.store.get_item(["notes"], "k"))["namespace"] == ["ann", "notes"]
    assert await bob.store.get_item(["notes"], "k") is None
    assert await bob.store.get_item(["ann", "notes"], "k") is None
    assert (await bob.store.search_items([]))["items"] == []
    assert (await bob.store.list_namespaces())["namespaces"] == []
    await bob.store.delete_item(["ann", "notes"], "k")
    found = await ann.store.search_items([], filter={"v": 1})
    assert [item["key"] for item in found["items"]] == ["k"]
    assert (await ann.store.list_namespaces())["namespaces"] == [["ann", "notes"]]
    await ann.store.delete_item(["notes"], "k")
    assert await ann.store.get_item(["notes"], "k") is None


async def heard(guarded: Server, thread: str, **options: Any) -> int | str:
    """The close code, or the first frame."""
    address = f"{guarded.url}/api/chat/ws?threadId={thread}&cursor=0"
    async with connect(address, proxy=None, **options) as socket:
        try:
            await socket.send('{"type": "message", "requestId": "r", "content": "hello"}')
            return str(await socket.recv())
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006


@pytest.mark.asyncio
async def test_the_chat_s_socket_and_routes_ask_the_project_too(guarded: Server, people: People) -> None:
    assert await heard(guarded, "t1") == 4401
    assert await heard(guarded, "t1", additional_headers={"Authorization": "Bearer mallory"}) == 4403
    said = await heard(guarded, "t1", additional_headers={"Authorization": "Bearer ann"})
    assert '"accepted"' in str(said)
    assert '"accepted"' in str(await heard(guarded, "t2", subprotocols=["unbroken", "bearer.ann"]))
    ann = people("ann")
    assert (await ann.threads.get("t1"))["metadata"]["team"] == "red"
    assert (await ann.http.get("/api/me"))["userId"] == "ann"
    with pytest.raises(PermissionDeniedError):
        await ann.http.delete("/api/threads/t1")
    with pytest.raises(AuthenticationError):
        await people(None).http.get("/api/threads")


def talking(guarded: Server, thread: str, name: str) -> Any:
    address = f"{guarded.url}/api/chat/ws?threadId={thread}&cursor=0"
    return connect(address, proxy=None, additional_headers={"Authorization": f"Bearer {name}"})


async def until(socket: Any, words: str) -> None:
    while words not in str(await socket.recv()):
        pass


@pytest.mark.asyncio
async def test_a_chat_s_graph_knows_who_speaks_and_the_rules_hear_each_message(guarded: Server) -> None:
    async with talking(guarded, "t3", "ann") as socket:
        await socket.send('{"type": "message", "requestId": "r1", "content": "for whom?"}')
        await until(socket, "for ann, red, ann")
        await socket.send('{"type": "message", "requestId": "r2", "content": "sealed words"}')
        with pytest.raises(ConnectionClosed) as end:
            await until(socket, "nothing like this")
        assert end.value.rcvd is not None
        assert (end.value.rcvd.code, end.value.rcvd.reason) == (4403, "sealed")
    async with talking(guarded, "t3", "ann") as socket:  # what was said already may be said again
        await socket.send('{"type": "message", "requestId": "r1", "content": "for whom?"}')
        await until(socket, '"duplicate":true')


@pytest.mark.asyncio
@pytest.mark.parametrize(("now", "code"), [("", 4401), ("green", 4403)])
async def test_an_open_chat_ends_when_its_user_may_not_look_on(guarded: Server, now: str, code: int) -> None:
    """Shut out, or of another team."""
    name = f"gil{code}"
    async with talking(guarded, name, name) as socket:
        await socket.send('{"type": "message", "requestId": "r", "content": "for whom?"}')
        await until(socket, f"for {name}, none, {name}")
        (guarded.log.parent / f"{name}.moved").write_text(now)
        with pytest.raises(ConnectionClosed) as end:
            async with asyncio.timeout(30):
                await until(socket, "nothing like this")
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == code


@pytest.mark.asyncio
@pytest.mark.parametrize(("now", "code"), [("", 4401), ("green", 4403)])
async def test_so_do_the_agent_protocol_s_socket_and_every_stream(guarded: Server, now: str, code: int) -> None:
    name = f"hal{code}"
    headers = {"Authorization": f"Bearer {name}"}
    async with AsyncClient(base_url=f"http://127.0.0.1:{guarded.port}", headers=headers, timeout=30) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        address = f"/threads/{thread}/stream/events"
        async with (
            connect(f"{guarded.url}{address}", proxy=None, additional_headers=headers) as socket,
            client.stream("POST", address, json={"channels": ["values"]}) as response,
            client.stream("GET", f"/threads/{thread}/stream") as joined,
        ):
            assert (response.status_code, joined.status_code) == (200, 200)
            (guarded.log.parent / f"{name}.moved").write_text(now)
            for stream in (response, joined):
                with pytest.raises(RemoteProtocolError):
                    async with asyncio.timeout(30):
                        await stream.aread()
            with pytest.raises(ConnectionClosed) as end:
                async with asyncio.timeout(30):
                    await until(socket, "nothing like this")
            assert end.value.rcvd is not None
            assert end.value.rcvd.code == code
    refused = {"Authorization": "Bearer mallory"}
    async with AsyncClient(base_url=f"http://127.0.0.1:{guarded.port}", headers=refused) as client:
        for path in ("commands", "stream/events"):
            assert (await client.post(f"/threads/{thread}/{path}", json={})).status_code == 403


@pytest.mark.asyncio
async def test_what_the_rules_make_of_a_change_is_what_is_changed(people: People) -> None:
    ann = people("ann")
    thread = (await ann.threads.create())["thread_id"]
    changed = await ann.threads.update(thread, metadata={"team": "blue", "x": 1})
    assert changed["metadata"] == {"team": "red", "x": 1}
    made = await ann.assistants.create("who", name="mine", metadata={"draft": False})
    changed = await ann.assistants.update(made["assistant_id"], config={"tags": ["mine"]}, description="mine")
    assert (changed["config"], changed["description"]) == ({"tags": ["seen"]}, "changed")


@pytest.mark.asyncio
async def test_an_assistant_that_calls_itself_a_graph_s_own_is_hidden_like_others(people: People) -> None:
    ann = people("ann")
    made = await ann.assistants.create("who", name="mine", metadata={"created_by": "system"})
    with pytest.raises(NotFoundError):
        await ann.assistants.get(made["assistant_id"])
    assert (await ann.assistants.get("who"))["graph_id"] == "who"


@pytest.mark.asyncio
async def test_the_page_lists_what_the_rules_show_and_notes_what_they_set(guarded: Server, people: People) -> None:
    """Who joins another team sees nothing of what was said in the former one."""
    fay, fay_of_green = people("fay"), people("fay.green")
    made = (await fay.http.post("/api/threads", json={"title": "mine"}))["threadId"]
    assert (await fay.threads.get(made))["metadata"]["team"] == "none"
    assert '"accepted"' in str(await heard(guarded, made, subprotocols=["unbroken", "bearer.fay"]))
    assert await heard(guarded, made, subprotocols=["unbroken", "bearer.fay.green"]) == 4403
    assert [one["threadId"] for one in (await fay.http.get("/api/threads"))["threads"]] == [made]
    assert (await fay_of_green.http.get("/api/threads"))["threads"] == []
    with pytest.raises(ConflictError):
        await fay_of_green.http.post("/api/threads", json={"threadId": made})


@pytest.mark.asyncio
async def test_a_run_begins_with_what_the_rules_have_made_of_its_input(guarded: Server, people: People) -> None:
    asked = {"messages": [{"role": "user", "content": "swap me"}]}
    ended = await people("ann").runs.wait(None, "who", input=asked)
    assert ended["messages"][0]["content"] == "swapped"
    async with talking(guarded, "t4", "ann") as socket:
        await socket.send('{"type": "message", "requestId": "r", "content": "swap me"}')
        with pytest.raises(ConnectionClosed, match="4403"):
            await until(socket, "nothing like this")
