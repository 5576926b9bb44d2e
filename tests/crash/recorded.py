"""Clients whose traces the checker reads when everything is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.checker.check import violations
from tests.checker.history import read_trace
from tests.checker.sources import tables_of_postgres
from tests.crash.recorder import writer_to
from tests.end_to_end.client import Client


class Recorded:
    """Of one test: a trace file for each client, and the threads that they talk in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clients: dict[str, Client] = {}

    @asynccontextmanager
    async def client(self, url: str, thread: str, *, name: str = "", **given: Any) -> AsyncIterator[Client]:
        """One that stays, whatever becomes of its socket. `name`: which of this thread's."""
        view = f"{thread}{name}"
        with self._file(view).open("a", encoding="utf-8", buffering=1) as file:
            async with Client(url, thread=thread, stays=True, record=writer_to(file), **given) as client:
                self._clients[view] = client
                yield client

    async def broken(self, database_url: str) -> list[str]:
        """Everything against the promises or the protocol, in all these threads; each of these clients must have been
        told its thread's whole log."""
        tables = await tables_of_postgres(database_url)
        sockets = [socket for view in self._clients for socket in read_trace(self._file(view))]
        faults = [f"{view}: {fault}" for view, client in self._clients.items() for fault in client.view.faults]
        return [*faults, *map(str, violations(sockets, tables, watched_to_the_end=list(self._clients)))]

    def _file(self, view: str) -> Path:
        return self._folder / f"{view}.jsonl"
