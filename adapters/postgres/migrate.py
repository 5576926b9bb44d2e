"""Bringing the schema up to date, and down again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from typing import Any, Final

import asyncpg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from unbroken.adapters.postgres.errors import DRIVER_ERRORS, translated
from unbroken.adapters.postgres.pool import connect
from unbroken.adapters.postgres.tables import metadata
from unbroken.domain.errors import StoreUnavailable

log = logging.getLogger(__name__)

LOCK: Final = int.from_bytes(b"unbroken")
"""Advisory: whoever migrates holds it until the end of the transaction."""

OLDEST_SERVER: Final = 150000

LOCK_LIMIT_S: Final = 0.5
"""How long a change of the schema waits for a table. Whoever comes after it waits behind it for as long."""
PAUSE_S: Final = 1.0
"""Between two tries, in which everybody who waited gets through."""
PATIENCE_S: Final = 120.0


def _include_name(name: str | None, type_: str, parent_names: Any) -> bool:
    """The database may hold other people's tables: they are none of our business."""
    return type_ != "table" or name in metadata.tables


OPTIONS: Final[dict[str, Any]] = {
    # The database's owner may use Alembic for tables of their own.
    "version_table": "unbroken_migrations",
    "include_name": _include_name,
    "compare_server_default": True,
}


async def migrate(url: str, revision: str = "head") -> None:
    """Bring the schema to `revision` ("base": away with it), in one transaction.

    It never keeps others from a table for longer than a moment: where it does not get one at once, as somebody's
    transaction holds it, all is taken back and tried again, for two minutes.

    Safe to call from several processes at once: one does it, the others wait and find it done. A schema newer than
    this code is left alone, so that old and new versions run side by side during a deploy.

    Raises InvalidValue for a malformed URL, StoreUnavailable with one line for anything else.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            async with migrating(url) as connection:
                await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_LIMIT_S:g}s'"))
                await connection.run_sync(_migrate, revision)
            return
        except TableHeld as error:
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    "the schema cannot be changed: another transaction has held a table for two minutes. "
                    "See pg_stat_activity for the oldest one, and start again when it is over"
                ) from error
            log.warning("the schema waits for a table that somebody's transaction holds; trying again")
            await asyncio.sleep(PAUSE_S)


class TableHeld(StoreUnavailable):
    """A change of the schema did not get its table in time."""


async def differences(url: str) -> list[Any]:
    """What Alembic would change to make the database equal to the tables' definition: nothing, after `migrate`."""
    async with migrating(url) as connection:
        return await connection.run_sync(
            lambda sync: list(compare_metadata(MigrationContext.configure(sync, opts=OPTIONS), metadata))
        )


@asynccontextmanager
async def migrating(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection inside a transaction that nobody else migrates in; committed at the end."""

    async def creator() -> asyncpg.Connection:
        return await connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            # This statement also makes SQLAlchemy's lazy transaction a real one.
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            await _suited(connection)
            yield connection
    except DBAPIError as error:
        raise _one_line(error) from error
    except DRIVER_ERRORS as error:
        raise translated(error, writes=False) from error
    finally:
        await engine.dispose()


async def _suited(connection: AsyncConnection) -> None:
    row = (
        await connection.execute(
            text("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
        )
    ).one()
    if row[0] < OLDEST_SERVER:
        raise StoreUnavailable(f"PostgreSQL {row[0] // 10000} is too old; 15 is the oldest that will do")
    if row[1] != "UTF8":
        raise StoreUnavailable(f"the database's encoding is {row[1]}; it must be UTF8")


def fits(revision: str | None) -> bool:
    """Whether a schema at `revision` serves this code: it is as this code wants it, or newer than this code knows."""
    head, known = _revisions()
    return revision is not None and (revision == head or revision not in known)


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """The newest one, and all."""
    scripts = ScriptDirectory.from_config(_config())
    return scripts.get_current_head(), frozenset(script.revision for script in scripts.walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("unbroken.migrations")).replace("%", "%%"))
    return config


def _migrate(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection, opts=OPTIONS).get_current_revision()
    _, known = _revisions()
    if current is not None and current not in known:
        log.warning("the schema is at %s, newer than this version knows; it is left alone", current)
    elif revision == "base":
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)


def _one_line(error: DBAPIError) -> Exception:
    cause = error.orig.__cause__ if error.orig is not None else None
    if isinstance(cause, asyncpg.LockNotAvailableError):
        return TableHeld(str(cause))
    if isinstance(cause, asyncpg.PostgresError):
        return translated(cause, writes=False)
    return StoreUnavailable(" ".join(str(error.orig).split()))
