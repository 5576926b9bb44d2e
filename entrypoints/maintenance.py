"""`unbroken export` and `unbroken erase`: everything that is stored of one user, told or removed, beside a running
server or without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

import msgspec

from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.embedded_errors import EmbeddedError
from unbroken.adapters.postgres.store import open_postgres
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.settings import Settings

CONNECTIONS: Final = 2


@contextmanager
def reached_database(settings: Settings) -> Iterator[str]:
    """The database's URL: of the one that a server keeps running here, else as `served_database` finds or starts it.
    Raises InvalidValue where nothing is kept, else as that does."""
    if settings.in_memory:
        raise InvalidValue("in-memory", "nothing outlives the server's process there, and nothing can be reached")
    served = _served(settings)
    if served is not None:
        yield served
        return
    from unbroken.entrypoints.served_database import database  # noqa: PLC0415  (takes a moment to load)

    with database(settings) as url:
        assert url is not None
        yield url


def _served(settings: Settings) -> str | None:
    if settings.database_url is not None:
        return None
    try:
        return EmbeddedPostgres(settings.data_dir).served_url()
    except EmbeddedError:
        return None


async def export_user(url: str, user_id: str, out: BinaryIO) -> int:
    """Write one JSON object a line, bytes in base64; returns how many."""
    records = 0
    async with open_postgres(url, pool_size=CONNECTIONS) as store:
        async for record in store.user_data.export(user_id):
            out.write(msgspec.json.encode(record) + b"\n")
            records += 1
    return records


async def erase_user(url: str, user_id: str) -> int:
    """Returns how many threads are gone."""
    async with open_postgres(url, pool_size=CONNECTIONS) as store:
        return len(await store.user_data.erase(user_id))
