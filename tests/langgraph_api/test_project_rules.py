"""A project's own `auth`: who is let in, and what its rules let each see and do, over a real server."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

import pytest
import pytest_asyncio
from httpx import AsyncClient, HTTPStatusError, RemoteProtocolError
from langgraph_sdk import Auth, get_client
from langgraph_sdk.errors import AuthenticationError, ConflictError, NotFoundError, PermissionDeniedError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.server import ROOT, Server
from unbroken.domain.catalogue import ANY, matches
from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.identity import Caller, User
from unbroken.entrypoints.langgraph_api.project_rules import ProjectRules, filter_of
from unbroken.entrypoints.web.project_identity import ProjectIdentity
from unbroken.entrypoints.web.rest import Problem


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copytree(ROOT / "tests" / "projects" / "guarded", folder, dirs_exist_ok=True)
    again = {"UNBROKEN_ASK_AGAIN_S": "0.1"}
    with Server(folder, agents={}, arguments=["--in-memory"], environment=again) as server:
        yield server


People = Callable[[str | None], Any]


@pytest_asyncio.fixture
async def people(guarded: Server) -> AsyncIterator[People]:
    """LangGraph's client, of whoever says to be somebody."""
    async with AsyncExitStack() as stack:
        made: dict[str | None, Any] = {}
        for name in (None, "ann", "bob", "carl", "fay", "fay.green", "hal.green", "mallory", "broken"):
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
    assert await people("ann").assistants.count() == 1


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
async def test_so_do_the_agent_protocol_s_socket_and_stream(guarded: Server, now: str, code: int) -> None:
    name = f"hal{code}"
    headers = {"Authorization": f"Bearer {name}"}
    async with AsyncClient(base_url=f"http://127.0.0.1:{guarded.port}", headers=headers, timeout=30) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        address = f"/threads/{thread}/stream/events"
        async with (
            connect(f"{guarded.url}{address}", proxy=None, additional_headers=headers) as socket,
            client.stream("POST", address, json={"channels": ["values"]}) as response,
        ):
            assert response.status_code == 200
            (guarded.log.parent / f"{name}.moved").write_text(now)
            with pytest.raises(RemoteProtocolError):
                async with asyncio.timeout(30):
                    await response.aread()
            with pytest.raises(ConnectionClosed) as end:
                async with asyncio.timeout(30):
                    await until(socket, "nothing like this")
            assert end.value.rcvd is not None
            assert end.value.rcvd.code == code
    refused = {"Authorization": "Bearer mallory"}
    async with AsyncClient(base_url=f"http://127.0.0.1:{guarded.port}", headers=refused) as client:
        for path in ("commands", "stream/events"):
            assert (await client.post(f"/threads/{thread}/{path}", json={})).status_code == 403


@pytest.mark.parametrize(
    ("verdict", "holds"),
    [
        ({"owner": "ann"}, True),
        ({"owner": "bob"}, False),
        ({"owner": {"$eq": "ann"}}, True),
        ({"members": {"$contains": "x"}}, True),
        ({"members": {"$contains": ["x", "z"]}}, False),
        ({"owner": "ann", "members": {"$contains": "z"}}, False),
        ({"$or": [{"owner": "bob"}, {"members": {"$contains": "y"}}]}, True),
        ({"$or": [{"owner": "bob"}, {"members": {"$contains": "z"}}]}, False),
        ({"$and": [{"owner": "ann"}, {"$or": [{"n": 1}, {"n": 2}]}]}, True),
        ({"$or": []}, False),
        ({}, True),
    ],
)
def test_a_filter_means_what_langgraph_says_it_means(verdict: dict[str, Any], holds: bool) -> None:
    assert matches({"owner": "ann", "members": ["x", "y"], "n": 2}, filter_of(verdict)) is holds


@pytest.mark.parametrize("verdict", [7, {"$not": []}, {"a": {"$gt": 1}}, {"a": {"$eq": 1, "$contains": 2}}])
def test_what_is_no_filter_allows_nothing(verdict: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        filter_of(verdict)


def test_a_function_that_wants_what_nobody_has_is_found_at_the_start() -> None:
    auth = Auth()

    @auth.authenticate
    async def known(body: dict[str, Any]) -> str:
        return "ann"

    with pytest.raises(InvalidValue, match="'body'"):
        ProjectIdentity(auth)


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


async def filtered(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
    return {"owner": ctx.user.identity}


async def refused(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    raise Auth.exceptions.HTTPException(status_code=int(value["key"]), detail="no")


@pytest.mark.asyncio
async def test_the_memory_is_closed_unless_a_rule_keeps_users_apart_in_it() -> None:
    """A filter of metadata says nothing of items, which have none."""
    ann = User("ann", details={"identity": "ann"})
    rules = ProjectRules(Auth())
    assert await rules(ann, "threads", "read", {}) == ANY
    for action in ("put", "get", "search", "delete", "list_namespaces"):
        with pytest.raises(Problem, match="shared by all") as refusal:
            await rules(ann, "store", action, {"namespace": ("bob",)})
        assert refusal.value.status == HTTPStatus.FORBIDDEN
    everything = Auth()
    everything.on(filtered)
    assert await ProjectRules(everything)(ann, "threads", "read", {}) == (({"owner": "ann"},),)
    with pytest.raises(Problem, match="shared by all"):
        await ProjectRules(everything)(ann, "store", "search", {"namespace": ()})


@pytest.mark.asyncio
@pytest.mark.parametrize(("raised", "status"), [(404, 404), (499, 403), (200, 403)])
async def test_whatever_number_a_refusal_has_it_is_one(raised: int, status: int) -> None:
    auth = Auth()
    auth.on.store(refused)
    with pytest.raises(Problem) as refusal:
        await ProjectRules(auth)(User("ann"), "store", "get", {"key": str(raised)})
    assert refusal.value.status == status


def caller(**given: Any) -> Caller:
    return Caller(**({"host": "", "headers": {}, "query": {}, "scheme": "http"} | given))


@pytest.mark.asyncio
async def test_a_function_that_blocks_is_asked_beside_the_loop() -> None:
    auth = Auth()

    @auth.authenticate  # type: ignore[type-var]
    def known(authorization: str | None) -> str:
        return f"{authorization} {threading.current_thread() is threading.main_thread()}"

    assert (await ProjectIdentity(auth).identify(caller(headers={"authorization": "ann"}))).id == "ann False"


@pytest.mark.asyncio
async def test_a_request_is_read_as_the_frameworks_that_projects_know_give_it() -> None:
    auth = Auth()

    @auth.authenticate
    async def known(request: Any, path_params: dict[str, str]) -> str:
        assert (request.headers.get("Authorization"), request.headers["X-Key"]) == ("Bearer a", "k")
        assert request.cookies == {"session": "s=1", "b": "2"}
        assert path_params == request.path_params == {"thread_id": "t", "run_id": "r"}
        return "ann"

    headers = {"authorization": "Bearer a", "x-key": "k", "cookie": 'session=s=1; odd; b="2"'}
    assert (await ProjectIdentity(auth).identify(caller(headers=headers, path="/threads/t/runs/r/join"))).id == "ann"


@pytest.mark.parametrize("path", ["/threads/search", "/runs/wait", "/threads", "/assistants/", "/store/items"])
@pytest.mark.asyncio
async def test_an_address_that_names_nothing_has_no_parameters(path: str) -> None:
    auth = Auth()

    @auth.authenticate
    async def known(path_params: dict[str, str]) -> str:
        assert not path_params
        return "ann"

    assert (await ProjectIdentity(auth).identify(caller(path=path))).id == "ann"


@pytest.mark.asyncio
async def test_a_run_begins_with_what_the_rules_have_made_of_its_input(guarded: Server, people: People) -> None:
    asked = {"messages": [{"role": "user", "content": "swap me"}]}
    ended = await people("ann").runs.wait(None, "who", input=asked)
    assert ended["messages"][0]["content"] == "swapped"
    async with talking(guarded, "t4", "ann") as socket:
        await socket.send('{"type": "message", "requestId": "r", "content": "swap me"}')
        with pytest.raises(ConnectionClosed, match="4403"):
            await until(socket, "nothing like this")
