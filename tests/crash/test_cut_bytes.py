"""The database's connection ends at a byte of a turn, whichever: in a request, in COMMIT's answer, between the two.

UNBROKEN_TEST_CUTS=2000 pytest tests/crash/test_cut_bytes.py     more positions of each direction
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pytest

from tests.checker.check import violations
from tests.checker.history import read_trace
from tests.checker.sources import tables_of_postgres
from tests.crash.byte_cutter import ByteCutter, Direction
from tests.crash.recorder import writer_to
from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread

SAID: Final = "words=2 pause=0"
CUTS: Final = 12
"""Of each direction, spread evenly over a turn's bytes."""
QUICK: Final = {
    "UNBROKEN_MAX_TRIES": "50",
    "UNBROKEN_RETRY_BACKOFF_S": "0.05",
    "UNBROKEN_RETRY_MAX_BACKOFF_S": "0.2",
    "UNBROKEN_RECOVERY_POLL_S": "0.3",
}
DIRECTIONS: Final[tuple[Direction, ...]] = ("requests", "answers")


def port_of(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["port"][0])


def by_tcp(url: str, port: int) -> str:
    """The same database, through another port of loopback."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}", query=""))


async def bytes_of_a_turn(cutter: ByteCutter, client: Client) -> dict[Direction, int]:
    """Of the second one, on connections that have prepared their statements."""
    for _ in range(2):
        cutter.count()
        await client.answered(await client.say(SAID))
    return dict(cutter.passed)


async def talked_while_cutting(cutter: ByteCutter, client: Client, cuts: int) -> int:
    """Returns how many messages were said; each was answered, and each but the first two met its cut."""
    turn = await bytes_of_a_turn(cutter, client)
    sent = 2
    for direction in DIRECTIONS:
        for number in range(cuts):
            met = cutter.cuts
            cutter.cut_after(direction, number * turn[direction] // cuts)
            while cutter.cuts == met:  # one turn may take a few bytes less than another
                (end,) = await client.answered(await client.say(SAID))
                assert end["type"] == "final", f"cut {number} of {cuts} of the {direction}: {end}"
                sent += 1
    return sent


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_turn_whose_database_connection_ends_at_any_byte_is_answered_once(
    folder: Path, database_url: str
) -> None:
    cuts = int(os.environ.get("UNBROKEN_TEST_CUTS", CUTS))
    trace = folder / "cut.jsonl"
    async with ByteCutter(port_of(database_url)) as cutter:
        server = Server(folder, database_url=by_tcp(database_url, cutter.port), environment=QUICK)
        server.start()
        try:
            await asyncio.to_thread(server.wait_ready)
            with trace.open("a", encoding="utf-8", buffering=1) as writing:
                record = writer_to(writing)
                async with Client(server.url, thread="cut", agent="three", stays=True, record=record) as client:
                    sent = await talked_while_cutting(cutter, client, cuts)
                    assert client.view.faults == []
            assert cutter.cuts == 2 * cuts
            stored = await read_thread(database_url, "cut")
            tables = await tables_of_postgres(database_url)
        finally:
            await asyncio.to_thread(server.stop)
    ends = [effect.event_seq for effect in stored.log]
    assert ends == list(range(1, sent + 1)), "each message has one end, in their order"
    assert violations(read_trace(trace), tables, watched_to_the_end=["cut"]) == []
