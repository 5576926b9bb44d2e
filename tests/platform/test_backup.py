"""Backup, restore and upgrade by the commands of docs/operation.md, word for word; then a conversation goes on."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.conftest import bin_dir_of, on_database
from tests.end_to_end.client import Client
from tests.end_to_end.server import ROOT, UNBROKEN, Server, environment
from tests.graphs.speech import is_speech
from unbroken.adapters.postgres.embedded_binaries import bundled_bin_dir

pytestmark = [pytest.mark.slow, pytest.mark.asyncio]
DOCUMENT = (ROOT / "docs" / "operation.md").read_text()
RUNNING = "words=60 pause=0.05"
BRIEF = {"UNBROKEN_LEASE_TTL_S": "2", "UNBROKEN_HEARTBEAT_S": "0.5"}
"""A backup holds the lease of whoever served then."""


async def follow(heading: str, folder: Path, **settings: str) -> str:
    """Run the commands below a heading of the document; what they said. Raises AssertionError if one fails."""
    _, _, rest = DOCUMENT.partition(f"\n### {heading}\n")
    (commands,) = re.findall(
        r"^```sh\n(.*?)^```", re.split(r"^##", rest, flags=re.MULTILINE)[0], re.DOTALL | re.MULTILINE
    )
    programs = os.pathsep.join([str(UNBROKEN.parent), str(bundled_bin_dir()), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", commands,
        cwd=folder, env=environment(PATH=programs, **settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, f"{heading}:\n{commands}\n{said.decode()}"
    return said.decode()


def embedded(folder: Path, programs: Path | None = None) -> Server:
    """In `.unbroken`, as when started in `folder` without any option."""
    settings = BRIEF | ({"UNBROKEN_DATABASE_PROGRAMS": str(programs)} if programs else {})
    return Server(folder, arguments=["--data-dir", str(folder / ".unbroken")], environment=settings)


async def begin(server: Server) -> tuple[str, str]:
    """One answered message, and a turn under way; the first answer, and the running request."""
    async with Client(server.url, thread="t", agent="one") as client:
        first = await client.say("before")
        (answer,) = await client.answered(first)
        running = await client.say(RUNNING)
        await client.until(lambda c: bool(c.view.shown.get(running)))
        return answer["message"], running


async def goes_on(server: Server, told: str, running: str | None) -> None:
    """All that was said is there, what was under way is answered, and the agent remembers."""
    async with Client(server.url, thread="t", agent="one") as client:
        ends = await client.answered(running) if running else []
        (final,) = await client.answered(await client.say("after"))
        assert client.view.faults == []
        history = [("human", "before"), ("ai", told)]
        for end in ends:
            history += [("human", RUNNING), ("ai", end["message"])]
        assert is_speech([*history, ("human", "after")], final["message"])
        assert [frame["cursor"] for frame in client.view.log] == list(range(1, len(client.view.log) + 1))


async def test_a_dump_of_the_running_embedded_database_is_restored_and_goes_on(folder: Path) -> None:
    with embedded(folder) as server:
        told, running = await begin(server)
        await follow("Dump the embedded database", folder)
        async with Client(server.url, thread="t", agent="one") as client:
            ahead = await client.say("this is in no backup")
            await client.answered(running, ahead)
            seen = client.view.cursor
    await follow("Restore it into an empty data directory", folder)
    with embedded(folder) as server:
        async with Client(server.url, thread="t", agent="one", cursor=seen) as client:
            await client.until(lambda c: bool(c.view.gaps))
            assert client.view.gaps[0]["reason"] == "unknown_cursor", "who saw more than the backup holds is told"
        await goes_on(server, told, running)


async def test_a_dump_of_an_external_database_is_restored_and_goes_on(
    folder: Path, database_url: str, new_database: Callable[[int], str]
) -> None:
    with Server(folder, database_url=database_url, environment=BRIEF) as server:
        told, running = await begin(server)
        await follow("Dump an external database", folder, DATABASE_URL=database_url)
        server.kill()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored TEMPLATE template0")
    restored = on_database(database_url, "restored")
    try:
        await follow("Restore it into an empty database", folder, NEW_DATABASE_URL=restored)
        with Server(folder, database_url=restored, environment=BRIEF) as server:
            await goes_on(server, told, running)
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE restored WITH (FORCE)")


async def test_the_files_of_a_running_server_are_copied_and_go_on(folder: Path) -> None:
    with embedded(folder) as server:
        told, running = await begin(server)
        await follow("Copy the embedded server's files while it runs", folder)
    await follow("Restore the files", folder)
    with embedded(folder) as server:
        await goes_on(server, told, running)


async def test_data_of_an_older_major_version_is_refused_in_one_line_and_moves_to_the_new_one(folder: Path) -> None:
    old = bin_dir_of(15)
    assert old is not None
    with embedded(folder, old) as server:
        told, running = await begin(server)
    command = [str(UNBROKEN), "serve", "--port", "0"]
    refused = await asyncio.to_thread(
        lambda: subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    )
    assert refused.returncode == 1
    assert "was made by PostgreSQL 15, and this is 18" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    await follow("Dump with the old version", folder, OLD_PROGRAMS=str(old))
    await follow("Restore with the new one", folder)
    with embedded(folder) as server:
        await goes_on(server, told, running)
    version = (folder / ".unbroken" / "postgres" / "PG_VERSION").read_text().strip()
    assert version == "18"
