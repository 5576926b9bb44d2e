from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.client.scripted_server import ScriptedServer
from tests.client.terminal import CTRL_D, Terminal
from unbroken.entrypoints.client.chat import chat

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().serving() as server:
        yield server


def piped(text: str) -> int:
    """The reading end of a pipe that holds `text` and ends."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    return reading


async def answer(server: ScriptedServer, *texts: str) -> None:
    for number, text in enumerate(texts, 1):
        await server.until(lambda number=number: len(server.model.events) == number)  # type: ignore[misc]
        await server.let(server.model.start, lambda text=text: server.model.say(text), server.model.finish)  # type: ignore[misc]


async def test_lines_of_a_pipe_are_answered_one_after_another(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    answering = asyncio.create_task(answer(server, "one", "two\nlines", "three"))
    assert await chat(server.url, stdin=piped("a\n\n  \nb\r\nc")) == 0
    await answering
    assert capsys.readouterr() == ("one\ntwo\nlines\nthree\n", "")
    assert [event["content"] for event in server.model.events] == ["a", "b", "c"]


async def test_a_failed_turn_is_said_and_makes_the_exit_code(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> None:
        await server.until(lambda: server.model.waiting)
        await server.let(server.model.start, server.model.fail)

    failing = asyncio.create_task(fail())
    assert await chat(server.url, stdin=piped("a\n")) == 1
    await failing
    assert capsys.readouterr().out == "✗ model_failed: it failed\n"


async def test_only_the_answers_to_the_pipe_are_printed(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    answering = asyncio.create_task(answer(server, "one", "two"))
    assert await chat(server.url, stdin=piped("a\n")) == 0
    assert await chat(server.url, stdin=piped("b\n")) == 0
    await answering
    assert capsys.readouterr().out == "one\ntwo\n"


async def test_a_server_that_does_not_want_us_is_one_line_with_advice(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.hang_up.append((4404, "no agent named 'x' is served here"))
    assert await chat(server.url, agent_id="x", stdin=piped("a\n")) == 1
    said = capsys.readouterr().err
    assert said == "unbroken: no agent named 'x' is served here (4404): Choose another agent.\n"


async def test_a_lost_connection_is_said_and_so_is_the_next(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.hang_up.append((1013, "too much to do"))
    answering = asyncio.create_task(answer(server, "one"))
    assert await chat(server.url, stdin=piped("a\n")) == 0
    await answering
    assert capsys.readouterr() == ("one\n", "· no connection (too much to do); trying again\n· connected again\n")


async def test_words_of_a_model_do_not_steer_the_terminal(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    answering = asyncio.create_task(answer(server, "a\x1b[2Jb\x9bc\rd"))
    assert await chat(server.url, stdin=piped("a\n")) == 0
    await answering
    assert capsys.readouterr().out == "a\ufffd[2Jb\ufffdc\ufffdd\n"


async def test_a_terminal_shows_the_answer_as_it_comes_and_says_when_it_begins_again(server: ScriptedServer) -> None:
    async with Terminal(server.url) as terminal:
        terminal.type("hello\n")
        await server.until(lambda: server.model.waiting)
        await server.let(server.model.start, lambda: server.model.say("one "))
        await terminal.until(lambda shown: "one " in shown)
        await server.let(lambda: server.model.start("takeover"), lambda: server.model.say("uno"))
        await terminal.until(lambda shown: "↻ the answer begins again" in shown and "uno" in shown)
        await server.let(server.model.finish)
        await terminal.until(lambda shown: shown.count("you › ") == 2)
        terminal.type("\x04")
        assert await terminal.ended() == 0


async def test_ctrl_c_leaves_without_a_traceback(server: ScriptedServer) -> None:
    async with Terminal(server.url) as terminal:
        terminal.interrupt()
        assert await terminal.ended() == 130
        assert "Traceback" not in terminal.shown


async def test_a_token_goes_with_every_request_and_stands_on_no_command_line(
    server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("who-i-am\n")
    async with Terminal(server.url, "--token-file", str(tmp_path / "token")) as terminal:
        terminal.type("hello\n")
        await server.until(lambda: server.model.waiting)
        await server.let(server.model.start, server.model.finish)
        request = server.sockets[0].request
        assert request is not None
        assert request.headers["Authorization"] == "Bearer who-i-am"
        assert server.tokens == ["Bearer who-i-am"], "of the history, which was read first"
        terminal.type(CTRL_D)
        assert await terminal.ended() == 0
