"""Asking a server how it is, as an orchestrator does."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.end_to_end.server import START_LIMIT_S, Server


def probe(server: Server, path: str) -> tuple[int, dict[str, Any]]:
    """Status and answer. Raises OSError if nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


async def ready(server: Server) -> tuple[int, dict[str, str]]:
    status, answer = await asyncio.to_thread(probe, server, "/health/ready")
    return status, answer["checks"]


async def until_ready_is(server: Server, wanted: int, *, limit_s: float = 20.0) -> dict[str, str]:
    """The checks with which it said so. Raises TimeoutError."""
    async with asyncio.timeout(limit_s):
        while True:
            status, checks = await ready(server)
            if status == wanted:
                return checks
            await asyncio.sleep(0.05)


def becomes(true: Callable[[], object], limit_s: float = START_LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
