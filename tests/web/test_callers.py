"""A server that knows its callers by tokens: who gets in, for how long, from where, and how much each may take."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.client import PATIENCE_S, Client
from tests.end_to_end.server import UNBROKEN, Server, environment
from tests.web.tokens import SECRET, Provider, shared
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.listener import listen
from unbroken.entrypoints.server import run
from unbroken.entrypoints.settings import SettingsError, read_settings
from unbroken.entrypoints.stopping import Stopping


def bearing(user: str, **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {shared(user, **claims)}"}


def ask(
    server: Server, method: str, path: str, headers: Mapping[str, str], body: Any = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), dict(headers))
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


async def close_of(server: Server, thread: str, **options: Any) -> tuple[int, str]:
    async with connect(f"{server.url}/api/chat/ws?threadId={thread}&cursor=0", proxy=None, **options) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_rest_asks_for_a_token_and_believes_nothing_else(token_server: Server) -> None:
    for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"X-Forwarded-User": "ann"}, {"X-Forwarded-For": "::1"}):
        status, told, body = ask(token_server, "GET", "/api/me?userId=ann", headers)
        assert (status, told["www-authenticate"]) == (401, "Bearer")
        assert json.loads(body)["error"]["code"] == "not_authenticated"
    status, _, body = ask(token_server, "GET", "/api/me?userId=bob", bearing("ann"))
    assert (status, json.loads(body)["userId"], json.loads(body)["auth"]) == (200, "ann", "jwt")
    cookie = {"Cookie": f"session={shared('ann')}"}
    assert ask(token_server, "GET", "/api/me", cookie)[0] == 200


@pytest.mark.asyncio
async def test_a_socket_without_a_good_token_is_closed_with_4401(token_server: Server, thread: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, bearing("ann", lasts_s=-60)):
        assert (await close_of(token_server, thread, additional_headers=headers))[0] == 4401
    code, reason = await close_of(token_server, f"{thread}&userId=ann")
    assert (code, reason) == (4401, "a token is needed")


@pytest.mark.asyncio
async def test_a_browsers_token_comes_as_a_subprotocol_and_is_not_repeated(token_server: Server, thread: str) -> None:
    token = shared("ann")
    async with connect(
        f"{token_server.url}/api/chat/ws?threadId={thread}&cursor=0",
        proxy=None,
        subprotocols=["unbroken", f"bearer.{token}"],  # type: ignore[list-item]
    ) as socket:
        assert socket.subprotocol == "unbroken"
        assert socket.response is not None
        assert token not in str(socket.response.headers)
        await socket.send(json.dumps({"type": "message", "requestId": "r", "content": "hello"}))
        assert json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))["type"] == "accepted"


@pytest.mark.asyncio
async def test_a_socket_ends_with_its_token_and_the_turn_goes_on(token_server: Server, thread: str) -> None:
    user = f"ann-{thread}"
    spent = bearing(user, lasts_s=-3)  # the clocks' leeway is all that is left of it
    async with Client(token_server.url, thread=thread, agent="one", headers=spent) as client:
        request = await client.say("words=60 pause=0.1")
        await client.until(lambda c: bool(c.view.shown.get(request)))
        assert await client.ended() == (4401, "the token has expired")
        assert request not in client.view.ends, "it ended in the middle of an answer"
    async with Client(token_server.url, thread=thread, agent="one", headers=spent) as again:
        assert (await again.ended())[0] == 4401
    async with Client(token_server.url, thread=thread, agent="one", headers=bearing(user)) as later:
        (final,) = await later.answered(request)
        assert final["attempt"] == 1
        assert later.view.faults == []


@pytest.mark.asyncio
async def test_the_pages_of_other_sites_get_nothing_by_a_users_cookie(token_server: Server, thread: str) -> None:
    cookie = {"Cookie": f"session={shared('ann')}"}
    url = f"{token_server.url}/api/chat/ws?threadId={thread}&cursor=0"
    evil = cookie | {"Origin": "https://evil.example"}
    code, reason = await close_of(token_server, thread, additional_headers=evil)
    assert (code, reason.split(":")[0]) == (4401, "Origin")
    for method, path in (("GET", "/api/threads"), ("POST", "/api/threads"), ("DELETE", f"/api/threads/{thread}")):
        status, told, _ = ask(token_server, method, path, evil, {} if method == "POST" else None)
        assert status == 401
        assert "access-control-allow-origin" not in told
    async with connect(url, proxy=None, additional_headers=cookie | {"Origin": "https://app.example"}) as socket:
        await socket.send(json.dumps({"type": "ack", "cursor": 0}))
        await (await socket.ping())


@pytest.mark.asyncio
async def test_one_user_has_so_many_sockets_and_others_have_theirs(token_server: Server, thread: str) -> None:
    mine, others = bearing(f"ann-{thread}"), bearing(f"bob-{thread}")
    url = f"{token_server.url}/api/chat/ws?threadId={thread}&cursor=0"
    opened = [await connect(url, proxy=None, additional_headers=mine) for _ in range(3)]
    code, reason = await close_of(token_server, thread, additional_headers=mine)
    assert code == 4429
    assert "3 sockets" in reason
    async with connect(url, proxy=None, additional_headers=others) as other:
        await (await other.ping())
    for socket in opened:
        await socket.close()
    async with Client(token_server.url, thread=thread, headers=mine) as client:
        await client.answered(await client.say("hello"))


@pytest.mark.asyncio
async def test_one_user_says_so_much_a_minute_over_all_sockets_and_others_say_theirs(
    token_server: Server, thread: str
) -> None:
    mine = bearing(f"ann-{thread}")
    async with (
        Client(token_server.url, thread=thread, headers=mine) as one,
        Client(token_server.url, thread=thread, headers=mine) as other,
        Client(token_server.url, thread=f"{thread}.bob", headers=bearing(f"bob-{thread}")) as bob,
    ):
        said = [await client.say(f"number {n}") for n in range(3) for client in (one, other)]
        await one.answered(*said)
        refused = await other.say("one more")
        await other.until(lambda c: bool(c.view.refusals))
        assert [(f["code"], f["requestId"]) for f in other.view.refusals] == [("too_fast", refused)]
        await bob.answered(await bob.say("hello"))
        assert one.view.faults == other.view.faults == bob.view.faults == []


@pytest.mark.asyncio
async def test_one_user_has_so_many_threads(token_server: Server, thread: str) -> None:
    mine = bearing(f"ann-{thread}")
    assert ask(token_server, "POST", "/api/threads", mine, {"threadId": f"{thread}.1"})[0] == 201
    async with Client(token_server.url, thread=f"{thread}.1", headers=mine) as first:
        await first.answered(await first.say("an empty thread may be filled"))
    async with Client(token_server.url, thread=f"{thread}.2", headers=mine) as second:
        await second.answered(await second.say("hello"))
    status, _, body = ask(token_server, "POST", "/api/threads", mine, {"threadId": f"{thread}.3"})
    assert (status, json.loads(body)["error"]["code"]) == (409, "too_many_threads")
    async with Client(token_server.url, thread=f"{thread}.3", headers=mine) as third:
        await third.say("hello")
        await third.until(lambda c: bool(c.view.refusals))
        assert third.view.refusals[0]["code"] == "too_many_threads"
        assert ask(token_server, "DELETE", f"/api/threads/{thread}.1", mine)[0] == 204
        await third.answered(await third.say("hello again"))


def test_no_token_and_no_key_is_ever_logged(token_server: Server, thread: str) -> None:
    tokens = [shared(f"ann-{thread}"), shared("ann", lasts_s=-60), shared("ann", secret="x" * 40)]
    for token in tokens:
        for headers in (
            {"Authorization": f"Bearer {token}"},
            {"Cookie": f"session={token}"},
            {"Sec-WebSocket-Protocol": f"unbroken, bearer.{token}"},
        ):
            for path in ("/api/me", f"/api/threads?query={token}", f"/nowhere/{token}"):
                ask(token_server, "GET", path, headers)
            ask(token_server, "POST", "/api/threads", headers, {"title": 7})
    said = token_server.said()
    assert "joined as" in said
    for secret in (*tokens, *(token.rpartition(".")[2] for token in tokens), SECRET):
        assert secret not in said, said[said.index(secret) - 300 : said.index(secret) + 20]


PAGE_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}


@pytest.mark.parametrize("path", ["/", "/page.js", "/api/me", "/nowhere", "/health/live"])
def test_every_response_tells_browsers_to_be_careful(token_server: Server, path: str) -> None:
    _, told, _ = ask(token_server, "GET", path, bearing("ann"))
    assert PAGE_HEADERS.items() <= told.items()
    assert "default-src 'self'" in told["content-security-policy"]
    assert "unsafe" not in told["content-security-policy"]


ODD_PATHS = [
    "/%00",
    "/%00/x",
    "/..%2f..%2fpyproject.toml",
    "/%2e%2e/%2e%2e/pyproject.toml",
    "/vendor/..%00",
    "/%ff%fe",
    "/%",
    "/" + "a" * 5000,
    "/" + "a/" * 2000,
    "/api/threads/%00",
    "/api/threads/%2e%2e/messages",
    "/api/threads/x/files/%00",
    "/api/threads?limit=x",
    "/api/threads?limit=99999999999999999999",
    "/api/threads?before=%00",
    "/api/threads?query=%00",
    "/api/threads/x/messages?before=1e9",
]


@pytest.mark.parametrize("path", ODD_PATHS, ids=range(len(ODD_PATHS)))
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE", "OPTIONS", "BREW"])
def test_no_path_makes_the_server_fail(token_server: Server, method: str, path: str) -> None:
    status, _, body = ask(token_server, method, path, bearing("ann"))
    assert 400 <= status < 500 or (status < 400 and method in {"OPTIONS", "GET", "HEAD"})
    assert b"Traceback" not in body
    assert b"[build-system]" not in body


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no key": ({"UNBROKEN_AUTH": "jwt"}, "UNBROKEN_AUTH: `jwt` needs one of"),
    "two keys": (
        {"UNBROKEN_AUTH": "jwt", "UNBROKEN_JWT_KEY": SECRET, "UNBROKEN_JWT_KEY_FILE": "x"},
        "UNBROKEN_AUTH: `jwt` needs one of",
    ),
    "a short secret": ({"UNBROKEN_AUTH": "jwt", "UNBROKEN_JWT_KEY": "sesame"}, "UNBROKEN_JWT_KEY: is a secret of 6"),
    "a missing file": ({"UNBROKEN_AUTH": "jwt", "UNBROKEN_JWT_KEY_FILE": "none.pem"}, "UNBROKEN_JWT_KEY_FILE: cannot"),
    "a missing set": ({"UNBROKEN_AUTH": "jwt", "UNBROKEN_JWT_JWKS_FILE": "none"}, "UNBROKEN_JWT_JWKS_FILE: cannot"),
    "nobody trusted": ({"UNBROKEN_AUTH": "proxy"}, "UNBROKEN_PROXY_TRUSTED: name the proxy's address"),
    "no address": ({"UNBROKEN_AUTH": "proxy", "UNBROKEN_PROXY_TRUSTED": "proxy.local"}, "UNBROKEN_PROXY_TRUSTED"),
    "no site": ({"UNBROKEN_ALLOWED_ORIGINS": "https://a.example/path"}, "UNBROKEN_ALLOWED_ORIGINS: 'https://a.exam"),
    "everybody let in": ({"UNBROKEN_HOST": "0.0.0.0"}, "host: 0.0.0.0 is not a loopback address"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_server_that_could_not_know_its_callers_cannot_be_set_up(
    mistake: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, complaint = WRONG[mistake]
    monkeypatch.chdir(tmp_path)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    refused = pytest.raises((SettingsError, InvalidValue), match=re.escape(complaint))
    with listen("127.0.0.1", 0) as listener, refused as refusal:
        run(read_settings(in_memory=True, port=0), Stopping(), listener)
    assert "sesame" not in str(refusal.value)


def test_it_does_not_start_then_and_says_why_in_one_line(tmp_path: Path) -> None:
    settings = environment(UNBROKEN_AUTH="jwt", UNBROKEN_JWT_KEY="sesame")
    command: list[str | Path] = [UNBROKEN, "serve", "--in-memory", "--port", "0"]
    told = subprocess.run(command, env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode not in (0, None)
    assert "UNBROKEN_JWT_KEY: is a secret of 6 bytes" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert "sesame" not in told.stderr


@pytest.mark.asyncio
async def test_a_set_of_keys_is_followed_while_the_server_runs(tmp_path: Path) -> None:
    one, two = Provider("one"), Provider("two")
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [one.listed]}))
    settings = {"UNBROKEN_AUTH": "jwt", "UNBROKEN_JWT_JWKS_FILE": str(keys)}
    with Server(tmp_path, arguments=["--in-memory"], environment=settings) as server:
        by = {provider: {"Authorization": f"Bearer {provider.token('ann')}"} for provider in (one, two)}
        assert [ask(server, "GET", "/api/me", by[provider])[0] for provider in (one, two)] == [200, 401]
        keys.write_text(json.dumps({"keys": [one.listed, two.listed]}))
        assert [ask(server, "GET", "/api/me", by[provider])[0] for provider in (one, two)] == [200, 200]


@pytest.mark.asyncio
async def test_behind_a_proxy_the_header_counts_from_the_proxy_alone(tmp_path: Path, thread: str) -> None:
    for trusted, status in (("127.0.0.1", 200), ("10.0.0.0/8", 401)):
        settings = {"UNBROKEN_AUTH": "proxy", "UNBROKEN_PROXY_TRUSTED": trusted}
        folder = tmp_path / str(status)
        folder.mkdir()
        with Server(folder, arguments=["--in-memory"], environment=settings) as server:
            named = {"X-Forwarded-User": "ann", "X-Forwarded-For": "10.0.0.1"}
            assert ask(server, "GET", "/api/me", named)[0] == status
            assert ask(server, "GET", "/api/me?userId=ann", {})[0] == 401
            if status == 200:
                async with Client(server.url, thread=thread, headers=named) as client:
                    await client.answered(await client.say("hello"))
