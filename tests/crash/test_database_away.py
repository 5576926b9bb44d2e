"""While the database is away nothing is promised; when it is back, everything that was promised is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread
from tests.graphs.speech import is_speech
from unbroken.adapters.postgres.embedded import EmbeddedPostgres

SAID = "words=20 pause=0.05"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_message_is_refused_for_now_a_socket_with_1013_and_the_running_answer_waits(
    own_server: EmbeddedPostgres, folder: Path
) -> None:
    url = own_server.url
    with Server(folder, database_url=url) as server:
        async with Client(server.url, thread="t", agent="one") as client:
            running = await client.say(SAID)
            await client.until(lambda c: bool(c.view.shown.get(running)))
            await asyncio.to_thread(own_server.stop, immediate=True)

            refused = await client.say("not now")
            await client.until(lambda c: bool(c.view.refusals))
            (error,) = client.view.refusals
            assert (error["code"], error["requestId"], error["retryable"]) == ("unavailable", refused, True)
            async with Client(server.url, thread="u", agent="one") as newcomer:
                assert (await newcomer.ended())[0] == 1013

            await asyncio.to_thread(own_server.start)
            assert own_server.url == url
            (answer,) = await client.answered(running)
            await client.say("not now", refused)
            (later,) = await client.answered(refused)
            assert client.connected == 1, "whoever was connected stayed connected"
            assert client.view.faults == []
        assert is_speech([("human", SAID)], answer["message"])
        assert is_speech([("human", SAID), ("ai", answer["message"]), ("human", "not now")], later["message"])
        stored = await read_thread(url, "t")
        assert [event.request_id for event in stored.events] == [running, refused]
        assert server.stop() == 0
