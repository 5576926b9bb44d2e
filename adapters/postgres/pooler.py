"""A transaction pooler (PgBouncer and its kin) between us and the database: found out, and lived with.

Behind one, a connection of ours is nothing but a place in a line: each transaction may run on another connection of the
server's. What a session would keep from one transaction to the next is lost or, worse, somebody else's:

    settings               the start of a connection may not name them; each transaction brings its own
    prepared statements    none has a name; the driver then sends a statement's text again with its values
    session locks          none is taken: migrations and uploads lock for a transaction
    LISTEN                 does not work at all: hints need a connection of their own, past the pooler

Nothing has to be set for it: who answers tells the number of its process when a connection begins, and a pooler, which
does not know yet who that will be, makes one up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import asyncpg

SOMEBODY_ELSE: Final = "UB099"


def look(pid: int) -> str:
    """A statement that raises if it does not run in the server's process `pid`; one message, with nothing prepared."""
    return f"""DO $$ BEGIN
        IF pg_backend_pid() <> {int(pid)} THEN
            RAISE EXCEPTION 'a transaction pooler is between' USING ERRCODE = '{SOMEBODY_ELSE}';
        END IF;
    END $$"""


def is_between(error: asyncpg.PostgresError) -> bool:
    """Whether `error`, which came as a connection was made, is how a pooler shows itself: by `look`, or because it
    refuses to begin with settings that it does not know."""
    unknown_setting = error.sqlstate == "08P01" and "startup parameter" in str(error)
    return unknown_setting or error.sqlstate == SOMEBODY_ELSE


def settings_of_one_transaction(settings: Mapping[str, str]) -> str:
    """Statements that set `settings` until the transaction ends."""
    return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())
