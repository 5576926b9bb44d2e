"""Which other sites' pages may read our answers (CORS), around everything that this process serves over HTTP.

Doors (`doors.py`) decide whom we listen to at all; here a browser is told what it may show to the page that asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Send
from msgspec import Struct

from unbroken.adapters.langgraph.project import Cors

ANY: Final = "*"
ASKED: Final = b"access-control-request-method"
METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
EXPOSED: Final = ("Content-Location", "Location", "X-Pagination-Total", "X-Pagination-Next")
"""What stock clients read of an answer, and a browser would hide."""

AT_HOME: Final = Cors(
    allow_methods=(ANY,), allow_headers=(ANY,), allow_origin_regex=r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
)
"""Pages that this machine serves itself: what a front end in development is."""
UNTHOUGHT_OF: Final = "https://nobody-has-this-name.invalid"
"""Of a name that can belong to no site (RFC 2606)."""


class Sites(Struct, frozen=True):
    """Origins that are let in."""

    cors: Cors

    @property
    def everybody(self) -> bool:
        """Whether a page of any site is let in; by a pattern as well, if one that nobody has thought of fits it."""
        return self.welcome(UNTHOUGHT_OF)

    def welcome(self, origin: str) -> bool:
        pattern = self.cors.allow_origin_regex
        return (
            ANY in self.cors.allow_origins
            or origin.rstrip("/") in (one.rstrip("/") for one in self.cors.allow_origins)
            or (pattern is not None and re.fullmatch(pattern, origin) is not None)
        )


class CorsGate:
    """An ASGI application around another one. Whatever has no `Origin`, and every socket, passes untouched."""

    def __init__(self, app: ASGIApp, cors: Cors) -> None:
        self._app = app
        self._cors = cors
        self._sites = Sites(cors)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        origin = _header(scope, b"origin") if scope["type"] == "http" else None
        if origin is None or not self._sites.welcome(origin):
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and _header(scope, ASKED) is not None:
            headers = [*self._common(origin), *self._preflight(scope)]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._app(scope, receive, self._telling(origin, send))

    def _telling(self, origin: str, send: Send) -> Send:
        added = [*self._common(origin), _line("access-control-expose-headers", self._exposed())]

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                theirs = [pair for pair in message["headers"] if not pair[0].startswith(b"access-control-")]
                message["headers"] = [*theirs, *added]
            await send(message)

        return tell

    def _common(self, origin: str) -> Iterable[tuple[bytes, bytes]]:
        """Where credentials count, a browser takes no star."""
        star = ANY in self._cors.allow_origins and not self._cors.allow_credentials
        yield _line("access-control-allow-origin", [ANY if star else origin])
        if not star:
            yield _line("vary", ["Origin"])
        if self._cors.allow_credentials:
            yield _line("access-control-allow-credentials", ["true"])

    def _preflight(self, scope: Any) -> Iterable[tuple[bytes, bytes]]:
        methods = METHODS if ANY in self._cors.allow_methods else self._cors.allow_methods
        asked = _header(scope, b"access-control-request-headers")
        headers = [asked or ANY] if ANY in self._cors.allow_headers else ["Content-Type", *self._cors.allow_headers]
        yield _line("access-control-allow-methods", methods)
        yield _line("access-control-allow-headers", headers)
        yield _line("access-control-max-age", [str(self._cors.max_age)])

    def _exposed(self) -> Iterable[str]:
        return dict.fromkeys((*self._cors.expose_headers, *EXPOSED))


def _header(scope: Any, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), None)


def _line(name: str, values: Iterable[str]) -> tuple[bytes, bytes]:
    return name.encode(), ", ".join(values).encode("latin-1", "replace")
