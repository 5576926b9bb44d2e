"""What stands in the tables, for tests that nothing may have changed."""

from __future__ import annotations

from typing import Final

import asyncpg

TABLES: Final = (
    "inbox",
    "sessions",
    "events",
    "effects",
    "deliveries",
    "delivery_marks",
    "controls",
    "timers",
    "replicas",
    "heads",
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
    "files",
    "erased_threads",
    "thread_records",
    "temporary_threads",
    "assistants",
    "assistant_versions",
    "store",
    "store_embeddings",
)

EMPTY: Final = ";".join(f"DELETE FROM {table}" for table in TABLES)

Tables = dict[str, list[str]]


async def everything(sql: asyncpg.Connection) -> Tables:
    """Every row of every table, as text."""
    return {table: sorted(row[0] for row in await sql.fetch(f"SELECT t::text FROM {table} t")) for table in TABLES}


def changed(before: Tables, after: Tables) -> set[str]:
    return {table for table in TABLES if before[table] != after[table]}
