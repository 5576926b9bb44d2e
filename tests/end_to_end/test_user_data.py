"""Exporting and erasing a user on the command line, beside a server that answers them at that moment."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import UNBROKEN, Server, environment
from tests.web.rest import Rest

LIMIT_S = 60


class Installation:
    """A data directory, and the server that serves it."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory = directory
        self.server = server

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [UNBROKEN, *arguments, "--data-dir", str(self.directory / "data")],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment(),
            cwd=self.directory,
            timeout=LIMIT_S,
        )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("user-data")
    with Server(directory) as server:
        yield Installation(directory, server)


async def talked(here: Installation, user: str) -> str:
    """A thread with a question, an answer and a file."""
    rest = Rest(here.server, user)
    thread = f"thread-of-{user}"
    rest.ask("POST", "/api/threads", {"threadId": thread, "title": "Notes"})
    file = rest.ask("POST", f"/api/threads/{thread}/files", b"some notes", headers={"Content-Type": "text/plain"}).json
    async with Client(here.server.url, thread=thread, user=user, agent="one") as tab:
        content = [{"type": "text", "text": "read this"}, {"type": "file", "file_id": file["fileId"]}]
        (end,) = await tab.answered(await tab.say(content))
    assert end["type"] == "final"
    return thread


@pytest.mark.asyncio
async def test_an_export_holds_what_was_said_and_attached_one_record_a_line(here: Installation) -> None:
    thread = await talked(here, "ada")
    await talked(here, "bob")
    done = here.run("export", "ada")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "4 records of 'ada'"), done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["record"] for record in records] == ["thread", "event", "effect", "file"]
    assert {record["threadId"] for record in records} == {thread}
    assert records[0]["title"] == "Notes"
    assert records[1]["body"]["content"][0]["text"] == "read this"
    assert records[2]["body"]["type"] == "send_message"
    assert base64.b64decode(records[3]["data"]) == b"some notes"
    assert here.run("export", "nobody").stdout == ""


@pytest.mark.asyncio
async def test_erasing_a_user_ends_the_running_turn_and_nothing_of_them_comes_back(here: Installation) -> None:
    thread = await talked(here, "eve")
    await talked(here, "bob")
    async with Client(here.server.url, thread=thread, user="eve", agent="three") as idle:
        assert (await idle.ended())[0] == 4403  # another agent's thread
    async with Client(here.server.url, thread=thread, user="eve", agent="one") as tab:
        await tab.say("go on words=2000 pause=0.05")
        await tab.until(lambda tab: any(frame["type"] == "token" for frame in tab.view.frames))
        done = here.run("erase", "eve", "--yes")
        assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "erased 1 threads of 'eve'"), done.stderr
        assert (await tab.ended())[0] == 4403
        assert tab.view.frames[-1]["code"] == "thread_deleted"
    assert here.run("export", "eve").stdout == ""
    assert Rest(here.server, "eve").ask("GET", "/api/threads").json["threads"] == []
    assert Rest(here.server, "eve").ask("POST", "/api/threads", {"threadId": thread}).error == (409, "conflict")
    assert len(Rest(here.server, "bob").ask("GET", "/api/threads").json["threads"]) == 1


def test_nobody_is_erased_unasked(here: Installation) -> None:
    refused = here.run("erase", "bob")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert answering(here, "bob", b"n\n") == 130
    assert here.run("export", "bob").stdout != ""
    assert answering(here, "bob", b"y\n") == 0
    assert here.run("export", "bob").stdout == ""


def answering(here: Installation, user: str, answer: bytes) -> int:
    """The exit code of an erasure that asks a person."""
    person, terminal = pty.openpty()
    command = [str(UNBROKEN), "erase", user, "--data-dir", str(here.directory / "data")]
    with subprocess.Popen(command, stdin=terminal, stderr=subprocess.DEVNULL, env=environment()) as process:
        os.write(person, answer)
        code = process.wait(LIMIT_S)
    os.close(terminal)
    os.close(person)
    return code


def test_without_a_server_they_start_the_database_themselves(here: Installation) -> None:
    """The last of this file: nobody serves after it."""
    here.server.stop()
    done = here.run("export", "nobody")
    assert (done.returncode, done.stdout) == (0, "")
