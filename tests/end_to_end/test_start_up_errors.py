"""A start that cannot succeed ends with one clear line on stderr, no traceback, and a code that is not 0."""

from __future__ import annotations

import fcntl
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec import Struct

from tests.end_to_end.server import UNBROKEN, environment

LIMIT_S = 120.0
AGENTS = {
    "raises.py": "import nothing_of_that_name\n",
    "no_graph.py": "graph = {}\n",
}


class Start(Struct, frozen=True):
    """A start that must fail, and what its one line must say."""

    arguments: tuple[str, ...]
    words: tuple[str, ...]
    code: int = 1
    settings: Mapping[str, str] = {}
    secret: str = "Traceback"
    """What it must not say."""


def agent(spec: str, *words: str) -> Start:
    return Start(("--in-memory", "--agent", spec), ("agent", *words))


def database(url: str, *words: str) -> Start:
    return Start((), words, settings={"DATABASE_URL": url}, secret="secret")


STARTS = {
    "a port in use": Start(("--port", "{port}"), ("{port}", "--port")),
    "a data directory in use": Start(("--data-dir", "held"), ("held is already served by pid 4242 on port 5432",), 3),
    "another database's URL": database("mysql://somebody:secret@127.0.0.1/base", "DATABASE_URL", "postgresql://"),
    "a database that is down": database(
        "postgresql://somebody:secret@127.0.0.1:1/base", "the database at 127.0.0.1:1:"
    ),
    "an unknown host": database(
        "postgresql://somebody:secret@no-such-host.invalid/base", "the database at no-such-host.invalid:"
    ),
    "a wrong password": database("postgresql://unbroken:secret@{address}", "password"),
    "an agent that does not import": agent("a=raises.py:graph", "raises.py", "nothing_of_that_name"),
    "an agent that is no graph": agent("a=no_graph.py:graph", "no_graph.py:graph", "dict"),
    "a setting out of range": Start(("--in-memory",), ("UNBROKEN_MAX_TRIES",), settings={"UNBROKEN_MAX_TRIES": "none"}),
}


@pytest.fixture(scope="module")
def folder(open_folder: Path) -> Path:
    path = Path(tempfile.mkdtemp(prefix="starting-", dir=open_folder))
    path.chmod(0o755)
    for name, text in AGENTS.items():
        (path / name).write_text(text)
    (path / "held").mkdir()
    return path


@pytest.fixture(scope="module")
def facts(shared_server: Callable[[int], str], folder: Path) -> Iterator[dict[str, str]]:
    """A taken port, a held data directory, a real database's address: for as long as the tests run."""
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        lock = stack.enter_context((folder / "held" / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4242 5432\n")
        lock.flush()
        yield {"port": str(taken.getsockname()[1]), "address": shared_server(18).partition("@")[2]}


@pytest.fixture(scope="module")
def ended(folder: Path, facts: dict[str, str]) -> dict[str, subprocess.CompletedProcess[str]]:
    """How each start ended. Side by side, for most of their time is spent importing."""

    def run(start: Start) -> subprocess.CompletedProcess[str]:
        port = () if "--port" in start.arguments else ("--port", "0")
        return subprocess.run(
            [UNBROKEN, "serve", *port, *(argument.format(**facts) for argument in start.arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            cwd=folder,
            env=environment(**{name: value.format(**facts) for name, value in start.settings.items()}),
        )

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(STARTS, pool.map(run, STARTS.values()), strict=True))


@pytest.mark.parametrize("name", STARTS)
def test_a_start_that_cannot_succeed_says_why_in_one_line(
    ended: dict[str, subprocess.CompletedProcess[str]], facts: dict[str, str], name: str
) -> None:
    start, done = STARTS[name], ended[name]
    assert done.returncode == start.code, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("starting PostgreSQL")]
    assert len(lines) == 1, done.stderr
    for words in start.words:
        assert words.format(**facts) in lines[0]
    assert start.secret not in done.stderr


@pytest.mark.usefixtures("ended")
def test_a_failed_start_leaves_nothing_behind(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {*AGENTS, "held"}
