"""What a client says of itself when it connects: the query of the chat socket."""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import parse_qsl

from msgspec import Struct

from unbroken.entrypoints.web.codec import MAX_CURSOR, MAX_FOLLOW_UP_ID

THREAD_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_MAX_QUERY: Final = 8_192
_OURS: Final = frozenset({"threadId", "agentId", "cursor", "requestId", "attempt", "offset"})
_SHOWN: Final = ("requestId", "attempt", "offset")


class Hello(Struct, frozen=True):
    thread_id: str
    agent_id: str | None = None
    """None: the default agent."""
    cursor: int | Literal["tail"] | None = None
    """The last cursor presented; "tail": only what comes from now; None: from what was acknowledged."""
    request_id: str | None = None
    """The running answer that the client shows, up to `offset` of `attempt`. None: it shows nothing."""
    attempt: int = 0
    offset: int = 0

    @property
    def legacy(self) -> bool:
        """A client of the old protocol, until it acknowledges something (rule 10)."""
        return self.cursor is None


class BadQuery(Exception):
    """The query cannot be understood: close with 4400 and this text, at most 123 bytes, as the reason."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def parse_query(query: str | bytes) -> Hello:
    """Read a URL's raw query string; parameters it does not know are ignored. Raises BadQuery only."""
    given = _parameters(query)
    thread_id = given.get("threadId")
    if thread_id is None:
        raise BadQuery("threadId", "is required")
    if not THREAD_ID.fullmatch(thread_id):
        raise BadQuery("threadId", "must be 1 to 128 of A-Z a-z 0-9 _ - .")
    agent_id = given.get("agentId")
    if agent_id is not None and not (0 < len(agent_id) <= 128 and agent_id.isprintable()):
        raise BadQuery("agentId", "must be 1 to 128 printable characters")
    cursor = given.get("cursor")
    shown = [name for name in _SHOWN if name in given]
    if shown and len(shown) < len(_SHOWN):
        missing = next(name for name in _SHOWN if name not in given)
        raise BadQuery(missing, "requestId, attempt and offset come together or not at all")
    request_id = given.get("requestId")
    if request_id is not None and not (0 < len(request_id) <= MAX_FOLLOW_UP_ID and "\x00" not in request_id):
        raise BadQuery("requestId", "must be that of a `reset` or `token` frame")
    return Hello(
        thread_id=thread_id,
        agent_id=agent_id,
        cursor="tail" if cursor == "tail" else None if cursor is None else _number("cursor", cursor),
        request_id=request_id,
        attempt=_number("attempt", given.get("attempt", "0")),
        offset=_number("offset", given.get("offset", "0")),
    )


def _parameters(query: str | bytes) -> dict[str, str]:
    if len(query) > _MAX_QUERY:
        raise BadQuery("query", f"is longer than {_MAX_QUERY} bytes")
    try:
        text = query if isinstance(query, str) else query.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        raise BadQuery("query", "is not percent-encoded UTF-8") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in _OURS and name in found:
            raise BadQuery(name, "is given twice")
        found[name] = value
    return found


def _number(field: str, text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_CURSOR:
        or_tail = ', or "tail"' if field == "cursor" else ""
        raise BadQuery(field, f"must be an integer from 0 to 2^53 - 1{or_tail}")
    return int(text)
