"""`unbroken chat` as people use it: on a real terminal, against a real server."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.client.terminal import CTRL_D, Terminal
from tests.end_to_end.conftest import Serving
from tests.end_to_end.server import Server
from tests.end_to_end.tables import read_thread
from tests.end_to_end.test_terminal import talk
from tests.graphs.speech import is_speech

pytestmark = pytest.mark.asyncio
SLOW = "words=300 pause=0.02"


async def test_ctrl_c_stops_the_answer_and_the_talk_goes_on(serving: Serving, thread: str) -> None:
    async with Terminal(serving.url, "--agent", "one", thread=thread) as terminal:
        terminal.type(f"{SLOW}\n")
        await terminal.sees("] ")
        terminal.interrupt()
        await terminal.answers("stopping", "✗ cancelled")
        terminal.type("and now?\n")
        await terminal.answers("]")
        terminal.type(CTRL_D)
        assert await terminal.ended() == 0
        assert "Traceback" not in terminal.shown
    stored = await read_thread(serving.database_url, thread)
    assert [entry.type for entry in stored.log] == ["cancel_turn", "send_message"]


async def test_a_second_ctrl_c_leaves_at_once(serving: Serving, thread: str) -> None:
    async with Terminal(serving.url, "--agent", "endings", thread=thread) as terminal:
        terminal.type("deaf=5\n")
        await terminal.sees("] ")
        terminal.interrupt()
        await terminal.sees("stopping")
        terminal.interrupt()
        assert await terminal.ended() == 130
        assert "Traceback" not in terminal.shown


async def test_a_message_is_asked_again_or_said_otherwise(serving: Serving, thread: str) -> None:
    async with Terminal(serving.url, "--agent", "one", thread=thread) as terminal:
        terminal.type("frist\n")
        await terminal.answers("]")
        terminal.type("/retry\n")
        await terminal.answers("↶ instead of", "]")
        terminal.type("/edit\n")
        await terminal.sees("instead of: frist", "edit › ")
        terminal.type("first\n")
        await terminal.answers("↶ instead of", "]")
        terminal.type(CTRL_D)
        assert await terminal.ended() == 0
    stored = await read_thread(serving.database_url, thread)
    first, again = stored.events[:2]
    assert [event.payload["content"] for event in stored.events] == ["frist", "frist", "first"]
    assert [event.payload.get("replaces") for event in stored.events] == [None, first.request_id, again.request_id]
    assert is_speech([("human", "first")], stored.log[-1].payload["text"])
    async with Terminal(serving.url, "--agent", "one", thread=thread) as terminal:
        await terminal.sees(str(stored.log[-1].payload["text"])[-12:])
        assert "frist" not in terminal.shown, "what was replaced is not shown to whoever comes later"


async def test_questions_are_answered_one_by_one_or_talked_past(serving: Serving, thread: str) -> None:
    async with Terminal(serving.url, "--agent", "endings", thread=thread) as terminal:
        terminal.type("ask=2\n")
        await terminal.answers("? number 1?", "? number 2?", prompt="answer")
        terminal.type("blue\n")
        await terminal.answers(prompt="answer")
        terminal.type("green\n")
        await terminal.answers("noted 1: blue, 2: green")
        terminal.type("ask=1\n")
        await terminal.answers("? number 1?", prompt="answer")
        terminal.type("/say never mind\n")
        await terminal.answers("]")
        terminal.type(CTRL_D)
        assert await terminal.ended() == 0


async def test_an_answer_that_failed_leaves_its_question_to_be_answered(serving: Serving, thread: str) -> None:
    async with Terminal(serving.url, "--agent", "whole", thread=thread) as terminal:
        terminal.type("ask=1 late=0\n")
        await terminal.answers("? number 1?", prompt="answer")
        terminal.type("blue\n")
        await terminal.answers("✗ model_failed", prompt="answer")
        terminal.type("green\n")
        await terminal.answers("✗ model_failed", prompt="answer")
        terminal.type(CTRL_D)
        await terminal.ended()
    stored = await read_thread(serving.database_url, thread)
    assert [event.type for event in stored.events] == ["user_message", "input_response", "input_response"]


async def test_threads_are_listed_found_named_left_and_deleted(serving: Serving, thread: str) -> None:
    user = ("--user", f"user-of-{thread}"[:60])
    async with Terminal(serving.url, *user, thread=thread) as terminal:
        terminal.type("hello there\n")
        await terminal.answers("]")
        terminal.type("/rename About greetings\n")
        await terminal.sees("now called About greetings")
        terminal.type("/new endings\n")
        await terminal.answers("Thread ")
        terminal.type("another matter\n")
        await terminal.answers("]")
        terminal.type("/threads\n")
        shown = await terminal.sees("  1. another matter", "  2. About greetings", thread)
        assert "▸  1." in shown
        terminal.type("/threads greetings\n")
        assert "another" not in await terminal.sees("  1. About greetings", thread)
        terminal.type("/open 1\n")
        await terminal.answers(f"Thread {thread}", "you › hello there", "]")
        terminal.type("/delete\n")
        await terminal.sees("delete About greetings for ever?")
        terminal.type("yes\n")
        await terminal.answers("deleted", "Thread ")
        terminal.type(f"/open {thread}\n")
        await terminal.sees("✗ no such thread")
        terminal.type("/nonsense\n")
        await terminal.sees("there is no /nonsense")
        terminal.type("/help\n")
        await terminal.sees("/attach FILE", "/rename TITLE", "/quit")
        terminal.type("/quit\n")
        assert await terminal.ended() == 0
        assert "Traceback" not in terminal.shown


async def test_a_file_goes_with_the_next_message(serving: Serving, thread: str, folder: Path) -> None:
    (folder / "notes.txt").write_text("remember the milk")
    async with Terminal(serving.url, "--agent", "one", thread=thread) as terminal:
        terminal.type(f"/attach {folder}/nothing.txt\n")
        await terminal.sees("✗ cannot read")
        terminal.type(f"/attach {folder}/notes.txt\n")
        await terminal.sees("notes.txt goes with your next message")
        terminal.type("what does it say?\n")
        await terminal.answers("]")
        terminal.type(CTRL_D)
        assert await terminal.ended() == 0
    (event,) = (await read_thread(serving.database_url, thread)).events
    text, file = event.payload["content"]
    assert text == {"type": "text", "text": "what does it say?"}
    assert (file["type"], set(file) >= {"file_id"}) == ("file", True)


async def test_tool_calls_are_one_line_each_and_unfold(serving: Serving, thread: str) -> None:
    async with Terminal(serving.url, "--agent", "tool", thread=thread) as terminal:
        terminal.type("weigh 7\n")
        await terminal.answers("⚙ weigh started", "⚙ weigh finished", "]")
        terminal.type("/tools\n")
        await terminal.sees("⚙ weigh finished")
        terminal.type("/status\n")
        await terminal.sees("connected", thread, "agent tool", "0 unanswered")


async def test_a_server_that_comes_back_is_told_in_words_and_the_answer_is_whole(
    folder: Path, database_url: str, thread: str
) -> None:
    with Server(folder, database_url=database_url) as server:
        async with Terminal(server.url, "--agent", "one", thread=thread) as terminal:
            terminal.type("words=40 pause=0.05\n")
            await terminal.sees("]")
            server.kill()
            await terminal.sees("· no connection")
            server.start()
            await terminal.answers("· connected again", "↻ the answer")  # begins again, or is there already
            terminal.type(CTRL_D)
            assert await terminal.ended() == 0
        assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0
    (answer,) = (await read_thread(database_url, thread)).log
    end = str(answer.payload["text"])
    assert end in terminal.shown.replace("\r\n", "\n")


async def test_over_a_pipe_the_next_line_answers_an_open_question(serving: Serving, thread: str) -> None:
    done = await asyncio.to_thread(talk, serving, thread, "ask=2\nblue\ngreen\nthanks\n", "endings")
    assert (done.stderr, done.returncode) == ("", 0)
    assert "? number 1?" in done.stdout
    assert "noted 1: blue, 2: green" in done.stdout
    stored = await read_thread(serving.database_url, thread)
    assert [event.type for event in stored.events] == [
        "user_message",
        "input_response",
        "input_response",
        "user_message",
    ]
