"""Reading a thread's past over HTTP, for what a socket does not send (`gap`)."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from typing import Any

import msgspec

from unbroken.entrypoints.client.address import history_url, is_loopback

PAGE = 200
MAX_PAGE_BYTES = 256 << 20


class NoHistory(Exception):
    """The server did not give the page; the message says why."""


async def fetch_page(base: str, thread_id: str, *, before: int, user_id: str | None = None) -> dict[str, Any]:
    """One page of durable frames with a cursor below `before`. Raises NoHistory."""
    query: dict[str, Any] = {"before": before, "limit": PAGE}
    if user_id is not None:
        query["userId"] = user_id
    url = history_url(base, thread_id, query)
    if not url.startswith(("http://", "https://")):
        raise NoHistory(f"{base} is not a web address")
    try:
        return await asyncio.to_thread(_read, url, is_loopback(base))
    except (OSError, msgspec.MsgspecError) as error:
        raise NoHistory(str(error)) from error


def _read(url: str, direct: bool) -> dict[str, Any]:
    proxies = [urllib.request.ProxyHandler({})] if direct else []
    with urllib.request.build_opener(*proxies).open(url, timeout=30) as answer:
        page: dict[str, Any] = msgspec.json.decode(answer.read(MAX_PAGE_BYTES), type=dict[str, Any])
    return page
