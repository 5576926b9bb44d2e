"""`unbroken serve --reload`: the project's next version is served as soon as its files are there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.platform.probes import becomes
from tests.platform.test_workers import served, workers_of
from unbroken.entrypoints.watched import Watched

GRAPH = """
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from words import WORD
async def answer(state: MessagesState):
    return {{"messages": [AIMessage(f"{{WORD}} {{len(state['messages'])}} {version}")]}}
graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
"""


def laid_out(folder: Path) -> Path:
    (folder / "langgraph.json").write_text(
        '{"dependencies": ["."], "env": ".env", "graphs": {"a": "./agent.py:graph"}}'
    )
    (folder / "agent.py").write_text(GRAPH.format(version="one"))
    (folder / "words.py").write_text("import os\nWORD = os.environ['WORD']\n")
    (folder / ".env").write_text("WORD=first\n")
    return folder


async def answer(server: Server, text: str = "hi") -> str:
    async with Client(server.url, thread="t", agent="a") as client:
        (end,) = await client.answered(await client.say(text))
        return str(end["message"])


def serves(server: Server, times: int) -> None:
    becomes(lambda: server.said().count("all 1 workers serve") >= times)


@pytest.mark.asyncio
async def test_each_change_is_served_and_what_was_said_stays(folder: Path, database_url: str) -> None:
    laid_out(folder)
    with Server(folder, database_url=database_url, agents={}, arguments=["--reload"]) as server:
        assert await answer(server) == "first 1 one"
        (folder / "agent.py").write_text(GRAPH.format(version="two"))
        await asyncio.to_thread(serves, server, 2)
        assert await answer(server) == "first 3 two"
        assert "changed: agent.py; starting again" in server.said()
        (folder / ".env").write_text("WORD=second\n")
        await asyncio.to_thread(serves, server, 3)
        assert await answer(server) == "second 5 two"
        assert await asyncio.to_thread(server.stop) == 0
    assert "Traceback" not in server.said()


@pytest.mark.asyncio
async def test_what_does_not_import_is_told_and_waited_for(folder: Path, database_url: str) -> None:
    laid_out(folder)
    with Server(folder, database_url=database_url, agents={}, arguments=["--reload"]) as server:
        (folder / "agent.py").write_text("def broken(:\n")
        await asyncio.to_thread(becomes, lambda: "not serving; waiting for a file to change" in server.said())
        assert "unbroken: langgraph.json: graphs.a: ./agent.py does not import: SyntaxError" in server.said()
        assert workers_of(server) == [], "the old one does not serve on"
        (folder / "langgraph.json").write_text("{")
        await asyncio.to_thread(becomes, lambda: "unbroken: langgraph.json: is not JSON" in server.said())
        laid_out(folder)
        await asyncio.to_thread(serves, server, 2)
        assert await answer(server) == "first 1 one"
        (worker,) = workers_of(server)
        worker.kill()
        await asyncio.to_thread(serves, server, 3)
        assert "was killed by SIGKILL; it is started again" in server.said()
        assert await answer(server) == "first 3 one"


def test_it_begins_with_a_project_that_is_broken_still_and_in_memory(folder: Path) -> None:
    (laid_out(folder) / "words.py").unlink()
    server = Server(folder, agents={}, arguments=["--reload", "--in-memory"])
    server.start()
    try:
        becomes(lambda: "not serving; waiting for a file to change" in server.said())
        laid_out(folder)
        serves(server, 1)
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()


def test_more_than_one_worker_is_refused(folder: Path) -> None:
    ended = served("--reload", "--workers", "2", folder=laid_out(folder))
    assert ended.returncode == 1
    assert "unbroken: reload: one process is begun anew at a time: leave out --workers" in ended.stderr


def test_a_change_is_told_once_when_it_is_over(tmp_path: Path) -> None:
    clock = [0.0]
    for name in ("a.py", "b.txt", "node_modules/c.py", ".git/d.py", "env/pyvenv.cfg", "env/e.py", "deep/er/f.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    watched = Watched(lambda: [tmp_path, tmp_path / "deep"], lambda: clock[0])

    def changes() -> list[str]:
        clock[0] += 1
        return [os.path.relpath(path, tmp_path) for path in watched.changes()]

    assert changes() == []
    for name in ("b.txt", "node_modules/c.py", ".git/d.py", "env/e.py"):
        (tmp_path / name).write_text("22")
    assert changes() == changes() == []
    (tmp_path / "a.py").write_text("333")
    assert changes() == [], "it may change still"
    (tmp_path / "a.py").write_text("4444")
    (tmp_path / "deep" / "er" / "f.py").unlink()
    assert changes() == []
    assert changes() == ["a.py", "deep/er/f.py"]
    assert changes() == changes() == []
