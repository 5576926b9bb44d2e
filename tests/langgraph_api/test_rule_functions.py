"""A project's `auth` functions: what they are given, and what their answers mean."""

from __future__ import annotations

import threading
from collections import UserDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph_sdk import Auth
from pydantic import BaseModel

from unbroken.domain.catalogue import ANY, matches
from unbroken.domain.errors import InvalidValue, Refused
from unbroken.domain.ports.identity import Caller, User
from unbroken.entrypoints.langgraph_api.project_rules import ProjectRules, filter_of
from unbroken.entrypoints.web.app import _close
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.project_identity import MAX_DETAILS, ProjectIdentity
from unbroken.entrypoints.web.rest import Problem


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


async def quoting(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    raise Auth.exceptions.HTTPException(status_code=403, detail="not \ud800 you \x00")


class Socket:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def close(self, *, code: int, reason: str) -> None:
        self.reasons.append(reason)


@pytest.mark.asyncio
async def test_a_refusal_may_quote_whatever_somebody_sent() -> None:
    auth, socket = Auth(), Socket()
    auth.on(quoting)
    with pytest.raises(Problem) as refusal:
        await ProjectRules(auth)(User("ann"), "threads", "read", {})
    assert (refusal.value.status, str(refusal.value)) == (HTTPStatus.FORBIDDEN, "not \ufffd you \ufffd")
    closing: Any = socket
    await _close(closing, CloseCode.NOT_YOUR_THREAD, "not \ud800 you")
    assert socket.reasons == ["not \ufffd you"]


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


class Ours:
    """A user of no mapping's kind: plain attributes, computed ones, private ones, and what JSON has no form for."""

    realm = "sea"

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.teams = ("a", "b")
        self.client = object()
        self._token = "secret"

    @property
    def org(self) -> str:
        return "acme"

    @property
    def unknown(self) -> str:
        raise LookupError("nobody knows")

    def method(self) -> str:
        return "called"

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)


@dataclass
class Plain:
    identity: str
    org: str = "acme"
    permissions: list[str] = field(default_factory=lambda: ["read"])


class Slotted:
    __slots__ = ("identity", "org")

    def __init__(self, identity: str) -> None:
        self.identity, self.org = identity, "acme"


class Modelled(BaseModel):
    identity: str
    org: str = "acme"
    born: date = date(2000, 1, 2)


class Keyed:
    """LangGraph's `BaseUser`, read by key alone."""

    def __init__(self, identity: str) -> None:
        self._of = {"identity": identity, "org": "acme"}

    def __getitem__(self, key: str) -> Any:
        return self._of[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (Ours, {"org": "acme", "teams": ["a", "b"], "realm": "sea"}),
        (Plain, {"org": "acme", "permissions": ["read"]}),
        (Slotted, {"org": "acme"}),
        (Modelled, {"org": "acme", "born": "2000-01-02"}),
        (Keyed, {"org": "acme"}),
    ],
)
async def test_rules_find_what_a_user_object_of_the_project_s_own_says(kind: Any, known: dict[str, Any]) -> None:
    auth = Auth()

    @auth.authenticate
    async def asked(authorization: str | None) -> Any:
        return kind(identity=authorization)

    @auth.on.threads
    async def rule(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, Any]:
        return {"owner": f"{ctx.user.identity} of {ctx.user['org']}"}

    user = await ProjectIdentity(auth).identify(caller(headers={"authorization": "ann"}))
    assert user.details == {"identity": "ann", **known}
    assert await ProjectRules(auth)(user, "threads", "read", {}) == (({"owner": "ann of acme"},),)


@pytest.mark.asyncio
async def test_what_cannot_be_kept_of_a_user_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    auth = Auth()

    @auth.authenticate
    async def asked(authorization: str | None) -> Any:
        return Ours("ann")

    identity = ProjectIdentity(auth)
    for _ in range(2):
        await identity.identify(caller())
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert [line.rpartition(": ")[2] for line in told] == ["client (TypeError)", "unknown (LookupError)"]


@pytest.mark.asyncio
async def test_a_user_of_many_words_is_let_in_with_those_that_fit(caplog: pytest.LogCaptureFixture) -> None:
    auth = Auth()

    @auth.authenticate
    async def asked() -> Any:
        return SimpleNamespace(avatar="\ud83d" + "x" * MAX_DETAILS, odd="\ud83d", identity="ann", org="acme")

    user = await ProjectIdentity(auth).identify(caller())
    assert user.details == {"identity": "ann", "odd": "\ufffd", "org": "acme"}
    assert "left out of its users: avatar (too long)" in caplog.text


@pytest.mark.asyncio
async def test_who_cannot_be_read_is_not_let_in() -> None:
    class Torn(UserDict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise OSError("gone")

    class Nameless:
        org = "acme"

        @property
        def identity(self) -> str:
            raise OSError("gone")

    for found in (Torn(identity="ann"), Nameless(), None, 7):
        auth = Auth()

        @auth.authenticate
        async def asked(found: Any = found) -> Any:
            return found

        with pytest.raises(Refused, match="authentication failed"):
            await ProjectIdentity(auth).identify(caller())
