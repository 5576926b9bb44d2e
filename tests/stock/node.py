"""The clients for JavaScript: packages as `js/package-lock.json` pins them, cases in a process each."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from tests.stock.cases import Case, Shown, Stock

JS = Path(__file__).parent / "js"
CASES = JS / "cases.mjs"
_INSTALLED = JS / "node_modules" / ".made-from"


def node() -> str:
    """Raises AssertionError where Node.js is not installed."""
    program = shutil.which("node")
    assert program, (
        "the clients for JavaScript need Node.js, which is not installed (Debian: apt-get install nodejs npm)"
    )
    return program


@cache
def installed() -> Path:
    """The folder with its packages; installed, by one of several processes, if they are not those that are pinned."""
    pinned = hashlib.sha256((JS / "package-lock.json").read_bytes()).hexdigest()
    (JS / "node_modules").mkdir(exist_ok=True)
    with (JS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _INSTALLED.exists() or _INSTALLED.read_text() != pinned:
            npm = shutil.which("npm")
            assert npm, "the clients for JavaScript need npm, which is not installed (Debian: apt-get install npm)"
            quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            done = subprocess.run([npm, "ci", *quiet], cwd=JS, capture_output=True, text=True)
            assert done.returncode == 0, f"npm ci failed: {done.stderr[-3000:]}"
            _INSTALLED.write_text(pinned)
    return JS


def js_version() -> str:
    """Of the client."""
    found: str = json.loads((installed() / "node_modules/@langchain/langgraph-sdk/package.json").read_text())["version"]
    return found


def js_cases() -> list[Case]:
    listed = subprocess.run([node(), CASES], cwd=installed(), capture_output=True, text=True, check=True, env=_plain())
    return [
        Case(found["name"], found["title"], _player(found["name"]), found["kills"])
        for found in json.loads(listed.stdout)
    ]


def _player(name: str) -> Callable[[Stock], Awaitable[Shown]]:
    async def play(stock: Stock) -> Shown:
        process = await asyncio.create_subprocess_exec(
            *(node(), CASES, stock.url, stock.control, name),
            cwd=installed(),
            env=_plain(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, complaints = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        lines = out.decode().splitlines()
        return json.loads(lines[-1]) if lines else {"raised": complaints.decode()[-1000:]}

    return play


def _plain() -> dict[str, str]:
    """No proxy: what is spoken to is on this machine."""
    return {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
