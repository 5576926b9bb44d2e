"""`unbroken chat` against a real server, over a pipe."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from tests.end_to_end.conftest import Serving
from tests.end_to_end.server import UNBROKEN, environment
from tests.end_to_end.tables import read_thread


def talk(serving: Serving, thread: str, said: str, agent: str = "one") -> subprocess.CompletedProcess[str]:
    command = [str(UNBROKEN), "chat", "--url", serving.url, "--thread", thread, "--agent", agent]
    return subprocess.run(
        command, input=said, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


def test_what_is_printed_is_what_the_log_holds(serving: Serving, thread: str) -> None:
    first = talk(serving, thread, "hello\nand again\n")
    second = talk(serving, thread, "a third time")
    stored = asyncio.run(read_thread(serving.database_url, thread))
    assert (first.stderr, second.stderr) == ("", "")
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout + second.stdout == "".join(f"{effect.payload['text']}\n" for effect in stored.log)
    assert [event.payload["content"] for event in stored.events] == ["hello", "and again", "a third time"]


@pytest.mark.parametrize(
    ("agent", "said", "complaint"), [("one", "fail=2", "✗ model_failed"), ("nobody", "hi", "4404")]
)
def test_what_goes_wrong_is_said_and_makes_the_exit_code(
    serving: Serving, thread: str, agent: str, said: str, complaint: str
) -> None:
    ended = talk(serving, thread, said, agent)
    assert ended.returncode == 1
    assert complaint in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
