"""Alembic's entry. `unbroken migrate` hands over its connection; the `alembic` command uses `DATABASE_URL`."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from unbroken.adapters.postgres.migrate import OPTIONS, migrating
from unbroken.adapters.postgres.tables import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


async def run_alone(url: str) -> None:
    async with migrating(url) as connection:
        await connection.run_sync(run)


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_alone(os.environ["DATABASE_URL"]))
