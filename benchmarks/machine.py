"""The machine that is measured on: who gets which core, how many sockets a process may hold, what it is called."""

from __future__ import annotations

import os
import platform
import resource
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg


def cores(*, pinned: bool) -> tuple[set[int], frozenset[int]]:
    """(of the load and PostgreSQL, of the servers). A server is one busy thread: give each the same core to itself.
    Both empty: all share all cores."""
    if not pinned or not hasattr(os, "sched_getaffinity"):
        return set(), frozenset()
    first, *others = sorted(os.sched_getaffinity(0))
    return (set(others), frozenset({first})) if others else (set(), frozenset())


def pin(to: set[int]) -> None:
    """Keep this process, and what it starts, to these cores; where the system cannot, or they are none, do nothing."""
    if to and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, to)


def open_as_many_sockets_as_allowed() -> int:
    """For this process and what it starts. Returns how many that are."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return sys.maxsize if most == resource.RLIM_INFINITY else most


def on_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def databases(url: str, kinds: Iterable[str]) -> dict[str, str]:
    """Make an empty database for each, so that none meets another's rows or tables; kind → URL."""
    connection = await asyncpg.connect(url)
    try:
        return {kind: await _database(connection, url, kind.replace("-", "_") + "_bench") for kind in kinds}
    finally:
        await connection.close()


async def _database(connection: asyncpg.Connection, url: str, name: str) -> str:
    await connection.execute(f"CREATE DATABASE {name}")
    return on_database(url, name)


@contextmanager
def open_folder() -> Iterator[Path]:
    """One that PostgreSQL's account may enter, too."""
    with tempfile.TemporaryDirectory(prefix="unbroken-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def told() -> dict[str, str | int | None]:
    return {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}
