"""What only LISTEN/NOTIFY has: transaction poolers, and the database's own end."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Final

import pytest

from tests.bus.carriers import IDENTITY, PostgresCarrier, Side, eventually
from tests.end_to_end.proxy import Proxy
from unbroken.adapters.carried_hints import Company
from unbroken.adapters.in_process.wakeups import NoPeers
from unbroken.adapters.postgres import hints as module
from unbroken.adapters.postgres.embedded import EmbeddedPostgres
from unbroken.adapters.postgres.hints import PostgresHints
from unbroken.adapters.postgres.store import open_postgres

pytestmark = pytest.mark.asyncio

NOTIFICATION: Final = b"A"


class Pooler(Proxy):
    """As a pooler that lends a connection for a transaction: notifications find nobody to be handed to."""

    transparent = False

    def __init__(self, behind: int) -> None:
        super().__init__(behind)
        self._silent: set[asyncio.StreamWriter] = set()

    def silence(self) -> None:
        """Of the connections that there are, nothing gets through any more, and none of them ends."""
        for writer in self._open:
            self._silent.add(writer)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        if sink.get_extra_info("peername")[1] == self.behind:
            await super()._pump(source, sink)
            return
        try:
            sink.write(await source.readexactly(1))  # no TLS
            while True:
                head = await source.readexactly(5)
                body = await source.readexactly(int.from_bytes(head[1:], "big") - 4)
                if sink not in self._silent and (head[:1] != NOTIFICATION or self.transparent):
                    sink.write(head + body)
                    await sink.drain()
        except (OSError, asyncio.IncompleteReadError):
            sink.transport.abort()
        finally:
            self._open.discard(sink)


def hints_at(url: str, replica: int = 1) -> PostgresHints:
    return PostgresHints(url, replica=replica, identity=IDENTITY, company=Company())


async def test_behind_a_transaction_pooler_it_says_that_nothing_is_heard_and_what_to_set(
    listening: PostgresCarrier, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.5)
    monkeypatch.setattr(module, "DEAF_S", 0.1)
    async with Pooler(listening.barrier.port) as pooler:
        url = listening.by_tcp(pooler.port)
        with caplog.at_level(logging.INFO):
            async with hints_at(url) as deaf, hints_at(listening.url, 2) as other:
                await eventually(lambda: deaf.deaf)
                heard = Side(2, other, NoPeers())

                def told() -> bool:
                    deaf.announce("told all the same")
                    return heard.heard_of("told all the same")

                await eventually(told)
                await eventually(lambda: pooler_was_asked_again(caplog))
                pooler.transparent = True
                await eventually(lambda: not deaf.deaf)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "UNBROKEN_BUS_URL" in warning.getMessage()
    assert any("works again" in record.getMessage() for record in caplog.records)


def pooler_was_asked_again(caplog: pytest.LogCaptureFixture) -> bool:
    return sum("made anew" in record.getMessage() for record in caplog.records) >= 2


async def test_a_connection_that_died_without_a_word_is_found_out(
    listening: PostgresCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_S", 0.1)
    monkeypatch.setattr(module, "ANSWER_S", 0.5)
    async with Pooler(listening.barrier.port) as proxy:
        proxy.transparent = True
        url = listening.by_tcp(proxy.port)
        async with hints_at(url) as one, hints_at(listening.url, 2) as other:
            side = Side(1, one, NoPeers())

            def told() -> bool:
                other.announce("t")
                return side.heard_of("t")

            await eventually(told)
            proxy.silence()
            side.overheard.clear()
            await eventually(told)


async def test_installations_of_one_database_do_not_hear_each_other(listening: PostgresCarrier) -> None:
    one = await listening.join()
    stranger = await listening.join(identity="fedcba9876543210")
    other = await listening.join()
    await listening.meet(one, other)
    one.wakeups.announce("ours")
    await eventually(lambda: other.heard_of("ours"))
    assert not stranger.overheard


async def test_nothing_of_it_stays_on_the_connection_that_a_pooler_lends(listening: PostgresCarrier) -> None:
    side = await listening.join()
    assert isinstance(side.wakeups, PostgresHints)
    other = await listening.join()
    await listening.meet(side, other)
    teller = side.wakeups._teller
    assert teller is not None
    async with side.wakeups._telling:
        assert await teller.fetchval("SHOW synchronous_commit") == "on"
        assert not await teller.fetch("SELECT * FROM pg_prepared_statements WHERE statement LIKE 'SELECT set_config%'")


async def test_it_outlives_a_restart_of_the_database(own_server: EmbeddedPostgres) -> None:
    async with hints_at(own_server.url) as one, hints_at(own_server.url, 2) as other:
        side = Side(2, other, NoPeers())

        def told(name: str) -> bool:
            one.announce(name)
            return side.heard_of(name)

        await eventually(lambda: told("before"))
        await asyncio.to_thread(own_server.restart, immediate=True)
        await eventually(lambda: told("after"))


async def test_closing_does_not_wait_for_a_database_that_is_away(listening: PostgresCarrier) -> None:
    async with hints_at(listening.url) as hints:
        await listening.cut()
        hints.announce("t")
    assert not hints._tasks or all(task.done() for task in hints._tasks)


async def test_what_was_given_last_is_told_before_the_end(listening: PostgresCarrier) -> None:
    other = await listening.join()
    leaving = hints_at(listening.url, 50)
    async with leaving:
        side = Side(50, leaving, NoPeers())
        await listening.meet(side, other)
        for number in range(500):
            leaving.hint(f"released-{number}", free=True)
    await eventually(lambda: {(f"released-{number}", True) for number in range(500)} <= set(other.overheard))


async def test_a_database_has_one_identity_from_wherever_it_is_seen(
    listening: PostgresCarrier, new_database: Callable[[int], str]
) -> None:
    urls = listening.url, listening._url, new_database(18), new_database(15)
    seen: list[str] = []
    for url in urls:
        async with open_postgres(url, pool_size=2) as store:
            seen.append(await store.identity())
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", identity) for identity in seen)
