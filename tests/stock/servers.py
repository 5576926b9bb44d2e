"""The two servers, each with the same project and a stage of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.ports import free_port
from tests.end_to_end.server import START_LIMIT_S, STOP_LIMIT_S, Server
from tests.stock.stage import Stage

PROJECT = Path(__file__).parents[1] / "projects" / "stock"


@contextmanager
def unbroken(folder: Path, database_url: str | None = None) -> Iterator[Stage]:
    """Unbroken with the project, in `folder`. `database_url` None: a database of its own."""
    holder: list[Server] = []

    def restart() -> None:
        (server,) = holder
        server.kill()
        server.start()
        server.wait_ready()

    stage = Stage(free_port(), restart)
    environment = {"OPENAI_BASE_URL": stage.provider_url, "OPENAI_API_KEY": "none", "UNBROKEN_RETRY_BACKOFF_S": "0.05"}
    server = Server(
        folder,
        database_url=database_url,
        arguments=["--config", str(PROJECT / "langgraph.json")],
        environment=environment,
        agents={},
    )
    server.port = stage.server_port
    holder.append(server)
    with stage, server:
        yield stage


@contextmanager
def oracle(langgraph: Path, folder: Path) -> Iterator[Stage]:
    """LangGraph's development server with a copy of the project, in `folder`. `langgraph`: its program."""
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (folder / "oracle.log").open("ab") as log:
            running[:] = [
                subprocess.Popen(
                    [langgraph, "dev", "--no-browser", "--no-reload", "--n-jobs-per-worker", "10", "--port", port],
                    cwd=project,
                    env=os.environ | environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            ]
        _wait_for(f"http://127.0.0.1:{port}/ok", running[0], folder / "oracle.log")

    def restart() -> None:
        os.killpg(running[0].pid, signal.SIGKILL)
        running[0].wait(STOP_LIMIT_S)
        start()

    stage = Stage(free_port(), restart)
    port = str(stage.server_port)
    environment = {
        "OPENAI_BASE_URL": stage.provider_url,
        "OPENAI_API_KEY": "none",
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    }
    with stage:
        start()
        try:
            yield stage
        finally:
            os.killpg(running[0].pid, signal.SIGTERM)
            running[0].wait(STOP_LIMIT_S)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended: {log.read_text()[-3000:]}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not get ready: {log.read_text()[-3000:]}")
