"""What a chat client asks of a server besides the socket: threads, files, and the past."""

from __future__ import annotations

import asyncio
import mimetypes
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from unbroken.entrypoints.client.address import api_url, is_loopback

MAX_ANSWER_BYTES: Final = 256 << 20
TIMEOUT_S: Final = 30


class RestError(Exception):
    """The server did not do it; the message says why, in one line."""


class Rest:
    """`base`: the server's address as people write it. Every method raises RestError."""

    def __init__(self, base: str, *, user_id: str | None = None, headers: dict[str, str] | None = None) -> None:
        self._base = base
        self._identity = {} if user_id is None else {"userId": user_id}
        self._headers = headers or {}

    async def me(self) -> dict[str, Any]:
        me: dict[str, Any] = await self.ask("GET", "/api/me")
        return me

    async def threads(self, query: str = "", limit: int = 20) -> list[dict[str, Any]]:
        """Those with the newest activity; `query` searches titles and what was said."""
        page = await self.ask("GET", "/api/threads", {"query": query, "limit": limit})
        found: list[dict[str, Any]] = page["threads"]
        return found

    async def thread(self, thread_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.ask("GET", _thread(thread_id))
        return found

    async def create(self, thread_id: str, agent_id: str | None) -> dict[str, Any]:
        """A thread without a message yet; one that is there already is left as it is."""
        asked = {"threadId": thread_id} | ({"agentId": agent_id} if agent_id else {})
        created: dict[str, Any] = await self.ask("POST", "/api/threads", body=asked)
        return created

    async def rename(self, thread_id: str, title: str) -> dict[str, Any]:
        renamed: dict[str, Any] = await self.ask("PATCH", _thread(thread_id), body={"title": title})
        return renamed

    async def delete(self, thread_id: str) -> None:
        await self.ask("DELETE", _thread(thread_id))

    async def attach(self, thread_id: str, path: Path) -> dict[str, Any]:
        """Upload a file, `~` being one's home; returns the content block that refers to it."""
        try:
            data = await asyncio.to_thread(lambda: path.expanduser().read_bytes())
        except (OSError, RuntimeError) as error:
            raise RestError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        file = await self.ask(
            "POST", f"{_thread(thread_id)}/files", {"name": path.name}, data=data, headers={"Content-Type": kind}
        )
        family = str(file["mimeType"]).partition("/")[0]
        return {"type": family if family in {"image", "audio"} else "file", "file_id": file["fileId"]}

    async def ask(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        *,
        body: Any = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The answer's JSON; None if it has none."""
        url = api_url(self._base, path, (query or {}) | self._identity)
        if not url.startswith(("http://", "https://")):
            raise RestError(f"{self._base} is not a web address")
        sent = dict(self._headers) | (headers or {})
        if body is not None:
            data, sent["Content-Type"] = msgspec.json.encode(body), "application/json"
        request = urllib.request.Request(url, data, sent, method=method)  # noqa: S310 - checked above
        return await asyncio.to_thread(_open, request, is_loopback(self._base))


def _thread(thread_id: str) -> str:
    return f"/api/threads/{quote(thread_id, safe='')}"


def _open(request: urllib.request.Request, direct: bool) -> Any:
    proxies = [urllib.request.ProxyHandler({})] if direct else []
    try:
        with urllib.request.build_opener(*proxies).open(request, timeout=TIMEOUT_S) as answer:
            text = answer.read(MAX_ANSWER_BYTES)
            return msgspec.json.decode(text) if text else None
    except urllib.error.HTTPError as refused:
        with refused:
            raise RestError(_reason(refused)) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise RestError(str(getattr(error, "reason", "") or error) or type(error).__name__) from error


def _reason(refused: urllib.error.HTTPError) -> str:
    try:
        return str(msgspec.json.decode(refused.read(65_536))["error"]["message"])
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        return f"HTTP {refused.code}"
