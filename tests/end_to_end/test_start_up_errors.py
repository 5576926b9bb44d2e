"""A start that cannot succeed ends with one clear line on stderr, no traceback, and a code that is not 0."""

from __future__ import annotations

import fcntl
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.end_to_end.server import UNBROKEN, environment

LIMIT_S = 60.0


def served(directory: Path, arguments: Sequence[str], **settings: str) -> tuple[int, list[str]]:
    """Exit code, and what was said on stderr but for progress."""
    done = subprocess.run(
        [UNBROKEN, "serve", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=directory,
        env=environment(**settings),
    )
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    return done.returncode, [line for line in lines if not line.startswith("starting PostgreSQL")]


@pytest.fixture
def folder(open_folder: Path) -> Path:
    path = Path(tempfile.mkdtemp(prefix="starting-", dir=open_folder))
    path.chmod(0o755)
    return path


def test_a_port_in_use_is_named_before_anything_is_started(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, (line,) = served(folder, ["--port", port])
    assert code == 1
    assert port in line
    assert "--port" in line
    assert list(folder.iterdir()) == []


def test_a_data_directory_in_use_names_its_holder_and_exits_with_3(folder: Path) -> None:
    (folder / "data").mkdir()
    with (folder / "data" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4242 5432\n")
        lock.flush()
        code, (line,) = served(folder, ["--port", "0", "--data-dir", "data"])
    assert code == 3
    assert "data is already served by pid 4242 on port 5432" in line


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://somebody@127.0.0.1/base", "DATABASE_URL: must begin with postgresql://"),
        ("postgresql://somebody:secret@127.0.0.1:1/base", "127.0.0.1:1"),
        ("postgresql://somebody:secret@no-such-host.invalid/base", "no-such-host.invalid"),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(folder: Path, url: str, words: str) -> None:
    code, (line,) = served(folder, ["--port", "0"], DATABASE_URL=url)
    assert code == 1
    assert words in line
    assert "secret" not in line


def test_a_wrong_password_is_said_in_one_line(folder: Path, database_url: str) -> None:
    user, _, rest = database_url.removeprefix("postgresql://").partition(":")
    code, (line,) = served(folder, ["--port", "0"], DATABASE_URL=f"postgresql://{user}:wrong@{rest.partition('@')[2]}")
    assert code == 1
    assert "password" in line


AGENTS = {
    "raises.py": "import nothing_of_that_name\n",
    "plain.py": "number = 7\n",
    "no_messages.py": (
        "from typing import TypedDict\n"
        "from langgraph.graph import START, StateGraph\n"
        "class State(TypedDict):\n    count: int\n"
        "def node(state: State) -> State:\n    return state\n"
        "graph = StateGraph(State).add_node(node).add_edge(START, 'node').compile()\n"
    ),
}


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("a=raises.py:graph", "nothing_of_that_name"),
        ("a=absent.py:graph", "absent.py"),
        ("a=plain.py:graph", "'graph'"),
        ("a=plain.py:number", "plain.py:number"),
        ("a=no_messages.py:graph", "messages"),
        ("no equals sign", "NAME=file.py:variable"),
    ],
)
def test_an_agent_that_cannot_be_served_is_named_with_the_reason(folder: Path, agent: str, words: str) -> None:
    for name, text in AGENTS.items():
        (folder / name).write_text(text)
    code, (line,) = served(folder, ["--port", "0", "--in-memory", "--agent", agent])
    assert code == 1
    assert "agent" in line
    assert words in line


def test_a_setting_out_of_range_is_named(folder: Path) -> None:
    code, (line,) = served(folder, ["--port", "0", "--in-memory"], UNBROKEN_MAX_TRIES="none")
    assert code == 1
    assert "UNBROKEN_MAX_TRIES" in line


def test_an_address_that_others_can_reach_is_refused_without_authentication(folder: Path) -> None:
    code, (line,) = served(folder, ["--port", "0", "--in-memory", "--host", "0.0.0.0"])
    assert code == 1
    assert "loopback" in line
