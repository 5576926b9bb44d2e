"""What the routes of the long-term memory refuse, over a real server."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import PermissionDeniedError

from tests.end_to_end.server import Server
from tests.langgraph_api.test_catalogue import server, stock
from tests.web.conftest import token_server
from tests.web.rest import Rest
from tests.web.tokens import shared

__all__ = ["server", "stock", "token_server"]

pytestmark = pytest.mark.asyncio


async def test_a_memory_that_all_users_share_is_nobody_s_to_read(token_server: Server, stock: Any) -> None:
    await stock.store.put_item(["a", "b"], "k", {"v": 1})
    assert (await stock.store.get_item(["a", "b"], "k"))["value"] == {"v": 1}
    async with get_client(
        url=f"http://127.0.0.1:{token_server.port}", headers={"Authorization": f"Bearer {shared('reader')}"}
    ) as client:
        with pytest.raises(PermissionDeniedError, match="rules"):
            await client.store.get_item(["a", "b"], key="k")


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/store/items/search", {"limit": 0}, "limit"),
        ("/store/items/search", {"offset": -1}, "offset"),
        ("/store/namespaces", {"limit": 5_000}, "limit"),
        ("/store/items/search", {"namespace_prefix": "a"}, "array"),
        ("/store/items/search", {"filter": {"a": {"$in": [1]}}}, "operator"),
        ("/store/namespaces", {"max_depth": 0}, "max_depth"),
        ("/store/namespaces", {"max_depth": 2**40}, "max_depth"),
        ("/store/namespaces", {"suffix": ["\x00"]}, "NUL"),
    ],
)
async def test_a_search_of_the_memory_has_limits(server: Server, path: str, body: Any, named: str) -> None:
    reply = Rest(server, "refused").ask("POST", path, body)
    assert (reply.status, re.search(named, reply.json["detail"]) is not None) == (422, True), reply.body


@pytest.mark.parametrize(
    ("namespace", "key", "named"),
    [(["\x00"], "k", "NUL"), (["a", "b\x00"], "k", "NUL"), (["a"], "\x00", "key: holds U[+]0000")],
)
async def test_what_no_item_is_called_is_refused_in_words(
    server: Server, namespace: list[str], key: str, named: str
) -> None:
    ask = Rest(server, "refused").ask
    where = urlencode({"namespace": ".".join(namespace), "key": key})
    item = {"namespace": namespace, "key": key}
    for reply in (
        ask("GET", f"/store/items?{where}"),
        ask("DELETE", "/store/items", item),
        ask("PUT", "/store/items", item | {"value": {}}),
        *([] if key == "\x00" else [ask("POST", "/store/items/search", {"namespace_prefix": namespace})]),
    ):
        assert (reply.status, re.search(named, reply.json["detail"]) is not None) == (422, True), reply.body


@pytest.mark.parametrize("namespace", [["a.b"], [""]])
async def test_a_namespace_that_nothing_can_have_holds_nothing_to_delete(server: Server, namespace: list[str]) -> None:
    reply = Rest(server, "refused").ask("DELETE", "/store/items", {"namespace": namespace, "key": "k"})
    assert (reply.status, "label" in reply.json["detail"]) == (422, True), reply.body


async def test_an_item_does_not_live_for_longer_than_calendars_last(server: Server) -> None:
    item = {"namespace": ["a"], "key": "k", "value": {}}
    replies = [Rest(server, "refused").ask("PUT", "/store/items", item | {"ttl": ttl}) for ttl in (1e308, -1e12, 5e8)]
    assert [reply.status for reply in replies] == [422, 422, 204]
    assert "525600000 minutes" in replies[0].json["detail"]


@pytest.mark.parametrize("item", [{"namespace": []}, {"namespace": ["a.b"]}, {"namespace": ["langgraph"]}])
async def test_an_item_that_cannot_be_named_is_refused(server: Server, item: dict[str, Any]) -> None:
    reply = Rest(server, "refused").ask("PUT", "/store/items", item | {"key": "k", "value": {}})
    assert reply.status == 422, reply.body
