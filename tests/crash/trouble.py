"""Trouble with the database that one server has and others have not, made in its driver: for points that are passed
only then."""

from __future__ import annotations

from typing import Any, Literal

Trouble = Literal["", "answer_lost", "not_sent", "out_of_reach"]
"""The first commit is applied, and its connection ends instead of the answer; it fails twice before it is sent; or no
connection can be had three times in a row, once a message was accepted."""

ACCEPT = "unbroken_accept_v"
COMMIT = "unbroken_commit_v"


def bring(trouble: Trouble) -> None:
    """In this process, once; before its pool is opened."""
    if trouble == "out_of_reach":
        _out_of_reach()
    elif trouble:
        _at_the_first_commit(trouble, 1 if trouble == "answer_lost" else 2)


def _at_the_first_commit(trouble: Trouble, times: int) -> None:
    import asyncpg

    from unbroken.adapters.postgres import pool

    left = times

    async def fetch(self: pool.Connection, query: str, *args: Any, **given: Any) -> Any:
        nonlocal left
        if COMMIT not in query or left == 0:
            return await asyncpg.Connection.fetch(self, query, *args, **given)
        left -= 1
        if trouble == "not_sent":
            raise asyncpg.InterfaceError("the connection is closed")
        await asyncpg.Connection.fetch(self, query, *args, **given)
        self.terminate()
        raise ConnectionResetError("the connection ended before its answer")

    pool.Connection.fetch = fetch  # type: ignore[assignment, method-assign]


def _out_of_reach() -> None:
    import asyncpg

    from unbroken.adapters.postgres import pool

    left, accepted = 3, False
    taken = pool.Pool._take

    async def fetch(self: pool.Connection, query: str, *args: Any, **given: Any) -> Any:
        nonlocal accepted
        rows = await asyncpg.Connection.fetch(self, query, *args, **given)
        accepted = accepted or ACCEPT in query
        return rows

    async def take(self: pool.Pool) -> Any:
        nonlocal left
        if accepted and left:
            left -= 1
            raise ConnectionRefusedError("nobody listens there")
        return await taken(self)

    pool.Connection.fetch = fetch  # type: ignore[assignment, method-assign]
    pool.Pool._take = take  # type: ignore[method-assign]
