"""REST as a program without a library speaks it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from tests.end_to_end.server import Server


class Reply(Struct):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of a refusal, which has a message for people, too."""
        error = self.json["error"]
        assert error.keys() == {"code", "message"}
        assert error["message"]
        return self.status, error["code"]


class Rest:
    """One user's requests."""

    def __init__(self, server: Server, user: str) -> None:
        self.server = server
        self.user = user

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """`path` may hold a query of its own, as it stands. `body`: bytes as they are, anything else as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            asked = urlencode({"userId": self.user, **(query or {})})
            where = f"{path}{'&' if '?' in path else '?'}{asked}"
            connection.request(method, where, raw, dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()
