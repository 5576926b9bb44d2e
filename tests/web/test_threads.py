"""Threads over REST: made, listed, searched, named, deleted; for their owner, and for nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import TEMPLATE, on_database
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.web.rest import Rest

DATABASE = "web_threads"


@pytest.fixture(scope="module")
def on_postgres(shared_server: Callable[[int], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = shared_server(18)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE}".encode())
    try:
        with Server(tmp_path_factory.mktemp("postgres"), database_url=on_database(url, DATABASE)) as server:
            yield server
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())


@pytest.fixture(params=["memory", "postgres"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue("memory_server" if request.param == "memory" else "on_postgres")
    return found


@pytest.fixture
def user(thread: str) -> str:
    """A user of the test's own."""
    return f"user-of-{thread}"[:120]


@pytest.fixture
def rest(server: Server, user: str) -> Rest:
    return Rest(server, user)


def client(rest: Rest, thread: str, **options: Any) -> Client:
    return Client(rest.server.url, thread=thread, user=rest.user, agent="one", **options)


async def talk(rest: Rest, thread: str, *contents: str) -> None:
    async with client(rest, thread) as tab:
        for content in contents:
            await tab.answered(await tab.say(content))


def test_who_i_am_and_what_i_may(rest: Rest) -> None:
    reply = rest.ask("GET", "/api/me")
    assert reply.status == 200
    me = reply.json
    assert (me["userId"], me["auth"], me["agents"][0]) == (rest.user, "none", "one")
    assert me["limits"] == {"contentBytes": 256 << 10, "fileBytes": 10 << 20}


def test_a_made_thread_is_there_before_its_first_message_and_making_it_again_changes_nothing(
    rest: Rest, thread: str
) -> None:
    made = rest.ask("POST", "/api/threads", {"threadId": thread, "agentId": "three", "title": "  My\n plans "})
    assert made.status == 201
    told = made.json
    assert {name: told[name] for name in ("threadId", "agentId", "title", "cursor", "acked", "status")} == {
        "threadId": thread,
        "agentId": "three",
        "title": "My plans",
        "cursor": 0,
        "acked": 0,
        "status": "idle",
    }
    assert told["createdAt"] == told["updatedAt"]
    again = rest.ask("POST", "/api/threads", {"threadId": thread, "agentId": "three", "title": "Other"})
    assert (again.status, again.json) == (201, told)
    assert rest.ask("GET", "/api/threads").json == {"threads": [told], "before": None}
    assert rest.ask("GET", f"/api/threads/{thread}").json == told
    assert rest.ask("GET", f"/api/threads/{thread}/messages").json == {"messages": [], "cursor": 0, "before": None}


def test_a_thread_without_an_id_and_an_agent_gets_both(rest: Rest) -> None:
    made = rest.ask("POST", "/api/threads", {}).json
    assert made["agentId"] == "one"
    assert rest.ask("GET", f"/api/threads/{made['threadId']}").json == made


@pytest.mark.asyncio
async def test_the_first_message_gives_a_title_and_a_chosen_one_stands(rest: Rest, thread: str) -> None:
    await talk(rest, thread, "Hello   there,\nfriend " + "x" * 100)
    derived = rest.ask("GET", f"/api/threads/{thread}").json
    assert derived["title"].startswith("Hello there, friend xxx")
    assert derived["title"].endswith("…")
    assert len(derived["title"]) <= 80
    assert (derived["cursor"], derived["status"]) == (1, "idle")
    named = rest.ask("PATCH", f"/api/threads/{thread}", {"title": "Friends"})
    assert (named.status, named.json["title"]) == (200, "Friends")
    assert rest.ask("PATCH", f"/api/threads/{thread}", {}).json["title"] == "Friends"
    assert rest.ask("PATCH", f"/api/threads/{thread}", {"title": ""}).json["title"] == derived["title"]


@pytest.mark.asyncio
async def test_pages_and_searches_hold_every_thread_once(rest: Rest, thread: str) -> None:
    ids = [f"{number}.{thread}"[:120] for number in range(5)]
    for number, id_ in enumerate(ids):
        await talk(rest, id_, f"message {number} of 100%")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = rest.ask("GET", "/api/threads", query=query).json
        assert len(page["threads"]) <= 2
        seen += [found["threadId"] for found in page["threads"]]
        if page["before"] is None:
            break
        query["before"] = page["before"]
    assert seen == list(reversed(ids))

    def found(query: str) -> list[str]:
        return [one["threadId"] for one in rest.ask("GET", "/api/threads", query={"query": query}).json["threads"]]

    assert found("MESSAGE 3") == [ids[3]]
    assert found("100%") == list(reversed(ids))
    assert found("1_0%") == []


@pytest.mark.asyncio
async def test_a_thread_of_somebody_else_is_answered_like_none(rest: Rest, thread: str) -> None:
    await talk(rest, thread, "a secret")
    stranger = Rest(rest.server, f"not-{rest.user}"[:120])
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"title": "mine"}),
        ("DELETE", "", None),
        ("GET", "/messages", None),
        ("POST", "/files", b"x"),
        ("GET", "/files/absent", None),
    ):
        replies = [
            stranger.ask(method, f"/api/threads/{id_}{path}", body) for id_ in (thread, f"absent.{thread}"[:120])
        ]
        assert replies[0].error == (404, "not_found"), (method, path)
        assert replies[0].body == replies[1].body
    assert stranger.ask("GET", "/api/threads", query={"query": "secret"}).json["threads"] == []
    assert stranger.ask("POST", "/api/threads", {"threadId": thread}).error == (409, "conflict")
    assert rest.ask("GET", f"/api/threads/{thread}").json["title"] == "a secret"


@pytest.mark.parametrize(
    ("method", "path", "body", "error"),
    [
        ("POST", "/api/threads", b"{", (400, "bad_json")),
        ("POST", "/api/threads", b"", (400, "bad_json")),
        ("POST", "/api/threads", b'{"title": "\xff"}', (400, "bad_json")),
        ("POST", "/api/threads", b'{"other": ' + b"[" * 60_000, (400, "bad_json")),
        ("POST", "/api/threads", b" " * 70_000, (413, "too_long")),
        ("POST", "/api/threads", [], (400, "bad_request")),
        ("POST", "/api/threads", {"threadId": 1}, (400, "bad_request")),
        ("POST", "/api/threads", {"threadId": "a b"}, (400, "bad_request")),
        ("POST", "/api/threads", {"threadId": ""}, (400, "bad_request")),
        ("POST", "/api/threads", {"threadId": "x" * 129}, (400, "bad_request")),
        ("POST", "/api/threads", {"title": "x" * 201}, (400, "bad_request")),
        ("POST", "/api/threads", {"title": "a\0b"}, (400, "bad_request")),
        ("POST", "/api/threads", {"title": "\ud800"}, (400, "bad_json")),
        ("POST", "/api/threads", {"agentId": "nobody"}, (400, "no_such_agent")),
        ("GET", "/api/threads?limit=0", None, (400, "bad_request")),
        ("GET", "/api/threads?limit=201", None, (400, "bad_request")),
        ("GET", "/api/threads?limit=x", None, (400, "bad_request")),
        ("GET", "/api/threads?before=x", None, (400, "bad_request")),
        ("GET", "/api/threads?before=%ff", None, (400, "bad_request")),
        ("GET", "/api/threads?before=WzFlOTk5LCJhIl0", None, (400, "bad_request")),
        ("GET", "/api/threads?query=" + "x" * 201, None, (400, "bad_request")),
        ("GET", "/api/threads?query=a%00b", None, (400, "bad_request")),
        ("GET", "/api/threads/a%00b", None, (404, "not_found")),
        ("GET", "/api/threads/absent/messages?limit=0", None, (400, "bad_request")),
        ("PATCH", "/api/threads/absent", b"{", (400, "bad_json")),
        ("PATCH", "/api/threads/absent", {"title": 1}, (400, "bad_request")),
        ("PUT", "/api/threads", {}, (405, "method_not_allowed")),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_code_and_words(
    rest: Rest, method: str, path: str, body: Any, error: tuple[int, str]
) -> None:
    assert rest.ask(method, path, body).error == error


@pytest.mark.parametrize("path", ["/api/me", "/api/threads", "/api/threads/absent"])
def test_another_sites_page_is_not_answered(rest: Rest, path: str) -> None:
    reply = rest.ask("GET", path, headers={"Origin": "https://example.com"})
    assert reply.error == (401, "not_authenticated")


@pytest.mark.asyncio
async def test_deleting_a_thread_tells_its_sockets_and_leaves_nothing(rest: Rest, thread: str) -> None:
    await talk(rest, thread, "hello")
    async with client(rest, thread) as one, client(rest, thread) as two:
        for tab in (one, two):
            await tab.until(lambda tab: bool(tab.view.log))
        assert rest.ask("DELETE", f"/api/threads/{thread}").status == 204
        for tab in (one, two):
            assert (await tab.ended())[0] == 4403
            assert (tab.view.frames[-1]["type"], tab.view.frames[-1]["code"]) == ("error", "thread_deleted")
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"title": "x"}),
        ("GET", "/messages", None),
        ("POST", "/files", b"x"),
    ):
        assert rest.ask(method, f"/api/threads/{thread}{path}", body).error == (404, "not_found")
    assert rest.ask("DELETE", f"/api/threads/{thread}").status == 204
    assert rest.ask("GET", "/api/threads").json["threads"] == []
    assert rest.ask("POST", "/api/threads", {"threadId": thread}).error == (409, "conflict")
    async with client(rest, thread) as late:
        assert (await late.ended())[0] == 4403


@pytest.mark.asyncio
async def test_deleting_a_thread_in_mid_answer_ends_its_output_and_the_server_goes_on(rest: Rest, thread: str) -> None:
    async with client(rest, thread) as tab:
        await tab.say("hello words=400 pause=0.05")
        await tab.until(lambda tab: any(frame["type"] == "token" for frame in tab.view.frames))
        assert rest.ask("GET", f"/api/threads/{thread}").json["status"] == "busy"
        assert (await asyncio.to_thread(rest.ask, "DELETE", f"/api/threads/{thread}")).status == 204
        assert (await tab.ended())[0] == 4403
        assert tab.view.frames[-1]["code"] == "thread_deleted"
    assert rest.ask("GET", "/api/threads").json["threads"] == []
    await talk(rest, f"after.{thread}"[:120], "hello")
