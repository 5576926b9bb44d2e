"""The database that is served from: found, or started in the data directory, and brought up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import click

from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.embedded_watch import kept_running
from unbroken.adapters.postgres.migrate import migrate
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.stopping import Stopping

BESIDES_THE_POOL = 3
"""Connections of each process that are none of its pool's: its heartbeat's, its listener's, one for what comes up."""
SPARE = 10
"""For `unbroken inspect`, a backup, and whoever looks."""


@contextmanager
def database(settings: Settings, stopping: Stopping | None = None) -> Iterator[str | None]:
    """The database's URL, migrated; None in memory. An embedded server is started again whenever it ends by
    itself, and stopped at the end, however that comes about: by `stopping` as well."""
    if settings.in_memory:
        yield None
    elif settings.database_url is not None:
        asyncio.run(migrate(settings.database_url))
        yield settings.database_url
    else:
        click.echo(f"starting PostgreSQL in {settings.data_dir} …", err=True)
        embedded = EmbeddedPostgres(
            settings.data_dir,
            settings.database_programs,
            port=settings.database_port,
            connections=settings.workers * (settings.pool_size + BESIDES_THE_POOL) + SPARE,
        )
        url = embedded.start()
        if stopping is not None:
            stopping.on_cut_off.append(embedded.give_up)
        try:
            asyncio.run(migrate(url))
            with kept_running(embedded):
                yield url
        finally:
            embedded.stop()
