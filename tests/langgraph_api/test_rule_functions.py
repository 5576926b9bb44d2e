"""A project's `auth` functions: what they are given, and what their answers mean."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import Any

import pytest
from langgraph_sdk import Auth

from unbroken.domain.catalogue import ANY, matches
from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.identity import Caller, User
from unbroken.entrypoints.langgraph_api.project_rules import ProjectRules, filter_of
from unbroken.entrypoints.web.project_identity import ProjectIdentity
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
