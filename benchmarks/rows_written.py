"""What the rows of events and effects themselves take in PostgreSQL's log, with their indexes: nobody who stores them
can write less. Found by writing a run's last ones once more, into tables of the same shape."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.measure import log_position, log_written

COPIED: Final = 200
EVENTS: Final = "SELECT * FROM events ORDER BY created_at DESC LIMIT $1"
EFFECTS: Final = (
    f"SELECT effects.* FROM effects JOIN ({EVENTS}) e ON (effects.thread_id, event_seq) = (e.thread_id, e.seq)"
)


async def bytes_of_rows(url: str, programs: Path) -> float:
    """A turn, without whole pages. Raises RuntimeError if there was no turn."""
    connection = await asyncpg.connect(url)
    try:
        for table in ("events", "effects"):
            await connection.execute(f"CREATE TABLE {table}_again (LIKE {table} INCLUDING INDEXES INCLUDING STORAGE)")
        begin = await log_position(connection)
        await connection.execute(f"INSERT INTO events_again {EVENTS}", COPIED)
        await connection.execute(f"INSERT INTO effects_again {EFFECTS}", COPIED)
        written = await log_written(connection, programs, begin, await log_position(connection))
        events = await connection.fetchval("SELECT count(*) FROM events_again")
        await connection.execute("DROP TABLE events_again, effects_again")
    finally:
        await connection.close()
    if not events:
        raise RuntimeError("there are no events to measure rows of")
    return float(written.record_bytes / events)
