"""Reading a thread's past over HTTP, for what a socket does not send: a page to begin with, and a `gap`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from unbroken.entrypoints.client.rest import Rest, RestError

PAGE = 200


class NoHistory(Exception):
    """The server did not give the page; the message says why."""


async def fetch_page(rest: Rest, thread_id: str, *, before: int | None = None) -> dict[str, Any]:
    """One page of durable frames with a cursor below `before`, or the latest. Raises NoHistory."""
    path = f"/api/threads/{quote(thread_id, safe='')}/messages"
    try:
        query = {"limit": PAGE} | ({} if before is None else {"before": before})
        page: dict[str, Any] = await rest.ask("GET", path, query)
    except RestError as error:
        raise NoHistory(str(error)) from error
    return page
