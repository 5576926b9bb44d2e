"""Where a server's socket and its REST resources are found, given its address as people write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

SOCKET_PATH = "/api/chat/ws"


def socket_url(base: str, query: Mapping[str, Any]) -> str:
    """`base` is the server's address, `http(s)://` or `ws(s)://`, with or without the socket's path."""
    return _url(base, {"http": "ws", "https": "wss"}, SOCKET_PATH, query)


def api_url(base: str, path: str, query: Mapping[str, Any]) -> str:
    """Of a REST resource; `path` begins with a slash and is quoted already."""
    return _url(base, {"ws": "http", "wss": "https"}, path, query)


def is_loopback(base: str) -> bool:
    host = urlsplit(_with_scheme(base)).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _url(base: str, schemes: Mapping[str, str], path: str, query: Mapping[str, Any]) -> str:
    parts = urlsplit(_with_scheme(base))
    root = parts.path.removesuffix(SOCKET_PATH).rstrip("/")
    return urlunsplit((schemes.get(parts.scheme, parts.scheme), parts.netloc, root + path, urlencode(query), ""))


def _with_scheme(base: str) -> str:
    return base if "://" in base else f"http://{base}"
