"""What only a broker has: it is a process of its own, which dies, stalls, refuses, and is shared."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.bus.carriers import IDENTITY, NatsCarrier, Side, eventually
from tests.bus.nats_server import NatsServer
from unbroken.adapters.carried_hints import Company
from unbroken.adapters.nats import bus as bus_module
from unbroken.adapters.nats import connection as connection_module
from unbroken.adapters.nats.bus import WAITING_BYTES, NatsBus


def bus_at(url: str, replica: int = 1) -> NatsBus:
    return NatsBus(url, replica=replica, identity=IDENTITY, company=Company())


@pytest.mark.asyncio
async def test_a_broker_may_come_late_and_be_killed_and_come_back(caplog: pytest.LogCaptureFixture) -> None:
    server = NatsServer()
    with caplog.at_level(logging.INFO):
        async with bus_at(server.url) as first, bus_at(server.url, 2) as second:
            one, other = Side(1, first, first), Side(2, second, second)
            await eventually(lambda: sum("trying again" in record.getMessage() for record in caplog.records) >= 2)
            assert [first.reachable, second.reachable] == [False, False]
            first.hint("early")
            await asyncio.sleep(0)
            assert one.hints == ["early"]
            for number in range(3):
                await server.start()
                await NatsCarrier().meet(one, other, f"life {number}")
                assert first.reachable
                await server.kill()
                await eventually(lambda: not first.reachable and not second.reachable)
    assert sum("carries hints" in record.getMessage() for record in caplog.records) == 6
    complaints = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(complaints) <= 14, "a broker that is away is told once, not with each try"


@pytest.mark.asyncio
async def test_a_broker_that_stalls_is_given_up_and_nothing_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PING_S", 1.0)
    async with NatsServer() as server, bus_at(server.url) as first, bus_at(server.url, 2) as second:
        one, other = Side(1, first, first), Side(2, second, second)
        await NatsCarrier().meet(one, other)
        server.stall()
        for _ in range(2 * WAITING_BYTES // 200_000):
            first.send(2, bytes(200_000))
        assert first._waiting_bytes <= WAITING_BYTES
        assert first.dropped
        await eventually(lambda: not first.reachable)
        assert not first._messages
        await server.kill()
        await server.start()
        await NatsCarrier().meet(one, other, "after the stall")


@pytest.mark.asyncio
async def test_installations_that_share_a_broker_do_not_hear_each_other(broker: NatsCarrier) -> None:
    one = await broker.join()
    stranger = await broker.join(identity="fedcba9876543210")
    other = await broker.join()
    await broker.meet(one, other)
    one.wakeups.announce("ours")
    one.peers.send(stranger.replica, b"not to a stranger of that number")
    await eventually(lambda: other.heard_of("ours"))
    assert not stranger.overheard
    assert not stranger.messages


@pytest.mark.asyncio
async def test_a_token_or_a_password_in_the_url_is_used(caplog: pytest.LogCaptureFixture) -> None:
    async with NatsServer("--user", "ann", "--pass", "secret") as server:
        with caplog.at_level(logging.DEBUG, logger=bus_module.__name__):
            async with bus_at(server.url.replace("//", "//ann:secret@")) as bus:
                await eventually(lambda: bus.reachable)
            async with bus_at(server.url.replace("//", "//ann:wrong-one@"), 2) as refused:
                await eventually(lambda: sum("trying again" in record.getMessage() for record in caplog.records) >= 3)
                assert not refused.reachable
        assert "secret" not in caplog.text
        assert "wrong-one" not in caplog.text
    async with NatsServer("--auth", "token") as server, bus_at(server.url.replace("//", "//token@")) as bus:
        await eventually(lambda: bus.reachable)


@pytest.mark.asyncio
async def test_a_url_of_tls_is_never_served_without(caplog: pytest.LogCaptureFixture) -> None:
    async with NatsServer() as server:
        with caplog.at_level(logging.WARNING):
            async with bus_at(server.url.replace("nats://", "tls://")) as bus:
                await eventually(lambda: "does not offer TLS" in caplog.text)
                assert not bus.reachable


@pytest.mark.asyncio
async def test_a_message_larger_than_the_broker_takes_is_dropped_and_said(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "broker.conf").write_text("max_payload: 100000")
    server = NatsServer("-c", str(tmp_path / "broker.conf"))
    async with server, bus_at(server.url) as first, bus_at(server.url, 2) as second:
        one, other = Side(1, first, first), Side(2, second, second)
        await NatsCarrier().meet(one, other)
        first.send(2, bytes(200_000))
        first.send(2, b"small")
        await eventually(lambda: bool(other.messages))
        assert other.messages == [b"small"]
        assert "max_payload" in caplog.text


@pytest.mark.asyncio
async def test_what_was_given_last_is_told_before_the_end(broker: NatsCarrier) -> None:
    other = await broker.join()
    async with bus_at(broker.url, 50) as leaving:
        await broker.meet(Side(50, leaving, leaving), other)
        for number in range(500):
            leaving.hint(f"released-{number}", free=True)
    await eventually(lambda: {(f"released-{number}", True) for number in range(500)} <= set(other.overheard))


def test_on_the_server_s_loop_a_lost_broker_is_never_the_end_of_the_bus() -> None:
    """uvloop raises RuntimeError where something is written to a transport that has just been closed."""

    async def lost_while_hints_are_given() -> None:
        async with NatsServer() as server, bus_at(server.url) as first, bus_at(server.url, 2) as second:
            one, other = Side(1, first, first), Side(2, second, second)
            for life in range(4):
                await NatsCarrier().meet(one, other, f"life {life}")
                killing = asyncio.ensure_future(server.kill())
                while not killing.done() or first.reachable:
                    first.announce(f"t{life}")
                    first.send(2, b"a message")
                    await asyncio.sleep(0)
                assert not any(task.done() for task in (*first._tasks, *second._tasks))
                await server.start()
            await NatsCarrier().meet(one, other, "in the end")

    uvloop.run(lost_while_hints_are_given())


@pytest.mark.asyncio
async def test_a_message_that_the_library_cannot_take_apart_makes_nobody_deaf(broker: NatsCarrier) -> None:
    one, other = await broker.join(), await broker.join()
    await broker.meet(one, other)
    address = urlsplit(broker.server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false}\r\nPUB unbroken.%s.hints \xff 2\r\nhi\r\nPING\r\n' % IDENTITY.encode())
    await reader.readline()
    writer.close()
    await asyncio.sleep(0.5)
    await broker.meet(one, other, "after it")
