"""What orchestrators are told of a real server whose database comes and goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from tests.end_to_end.server import Server
from tests.platform.probes import probe, ready, until_ready_is
from unbroken.adapters.postgres.embedded import EmbeddedPostgres


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.asyncio
async def test_readiness_follows_the_database_and_liveness_does_not(own_server: EmbeddedPostgres, folder: Path) -> None:
    with Server(folder, database_url=own_server.url) as server:
        status, checks = await ready(server)
        assert (status, set(checks.values())) == (200, {"ok"})
        password = own_server.url.split(":")[2].partition("@")[0]

        await execute(own_server.url, "CREATE TABLE kept AS SELECT * FROM unbroken_migrations")
        await execute(own_server.url, "DELETE FROM unbroken_migrations")
        checks = await until_ready_is(server, 503)
        assert {name for name, found in checks.items() if found != "ok"} == {"schema"}
        await execute(own_server.url, "INSERT INTO unbroken_migrations VALUES ('of a later version')")
        await until_ready_is(server, 200)
        await execute(own_server.url, "UPDATE unbroken_migrations SET version_num = kept.version_num FROM kept")

        await asyncio.to_thread(own_server.stop, immediate=True)
        checks = await until_ready_is(server, 503)
        assert checks["database"] == "does not answer"
        assert await asyncio.to_thread(probe, server, "/health/live") == (200, {"status": "live"})
        await asyncio.to_thread(own_server.start)
        await until_ready_is(server, 200)
    assert password not in server.said()
    assert "Traceback" not in server.said(), "a database that goes away is one line, not a page"


@pytest.mark.asyncio
async def test_of_several_replicas_the_one_whose_lease_is_not_held_takes_no_traffic(
    folder: Path, database_url: str
) -> None:
    settings = {"UNBROKEN_LEASE_TTL_S": "10", "UNBROKEN_HEARTBEAT_S": "5"}
    for name in "ab":
        (folder / name).mkdir()
    with (
        Server(folder / "a", database_url=database_url, environment=settings | {"UNBROKEN_REPLICA_NAME": "a"}) as first,
        Server(folder / "b", database_url=database_url, environment=settings | {"UNBROKEN_REPLICA_NAME": "b"}) as other,
    ):
        assert (await ready(first))[0] == (await ready(other))[0] == 200
        async with asyncio.timeout(60):
            while True:  # a heartbeat may come between the two
                await execute(database_url, "UPDATE replicas SET expires_at = now() WHERE name = 'a'")
                await asyncio.sleep(0.6)
                status, checks = await ready(first)
                if status == 503:
                    break
        assert {name for name, found in checks.items() if found != "ok"} == {"lease"}
        assert checks["lease"] == "is not held"
        assert (await ready(other))[0] == 200
        await until_ready_is(first, 200)
