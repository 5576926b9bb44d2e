"""The statements of a turn, each brought to wait for a row in the middle of its work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from msgspec import Struct

from tests.crash.row_lock import RowLock, Table
from tests.end_to_end.client import Client

SLOW: Final = "words=30 pause=0.05"


class Step(Struct, frozen=True):
    """A statement of one kind that waits for a row until it is given up."""

    agent: str
    said: str
    end: str
    table: Table
    function: str
    attempts: int | None
    """That the message takes when one statement was given up, if that is certain."""
    visible: Literal["", "a change", "an end"]
    """What `read_thread` tells of it once it is applied."""


STEPS: Final = {
    "accept": Step("one", "words=2", "final", "inbox", "unbroken_accept_v", 1, "a change"),
    "claim": Step("one", "outage fail=1 pause=0.3", "model_failed", "sessions", "unbroken_claim_v", None, "a change"),
    "superstep": Step("three", SLOW, "final", "sessions", "unbroken_commit_v", 1, ""),
    "finish": Step("one", SLOW, "final", "sessions", "unbroken_commit_v", 1, "an end"),
}


@asynccontextmanager
async def waiting(database_url: str, client: Client, thread: str, step: Step) -> AsyncIterator[tuple[str, RowLock]]:
    """A first message makes the row; within the block the second one's statement waits for it. Its request id."""
    await client.answered(await client.say("words=1"))
    if step.table == "inbox":
        async with RowLock(database_url, step.table, thread) as lock:
            request = await client.say(step.said)
            await lock.awaited(step.function)
            yield request, lock
    else:
        request = await client.say(step.said)
        await client.until(lambda c: request in c.view.receipts)
        async with RowLock(database_url, step.table, thread) as lock:
            await lock.awaited(step.function)
            yield request, lock
