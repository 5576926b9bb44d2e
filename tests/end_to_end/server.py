"""`unbroken serve` as a process of its own: started, killed, told to stop, and asked what it said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.end_to_end.ports import free_port

ROOT = Path(__file__).parents[2]
GRAPHS = ROOT / "tests" / "graphs"
UNBROKEN = Path(sys.executable).with_name("unbroken")
START_LIMIT_S = 180.0
"""Nothing is concluded from how long it took; a busy machine may need a minute for what takes a second."""
STOP_LIMIT_S = 30.0
AGENTS = {
    "one": "one_node.py:graph",
    "three": "three_nodes.py:graph",
    "turn": "three_nodes.py:graph",
    "tool": "with_tool.py:graph",
    "reminding": "reminding.py:graph",
    "endings": "endings.py:graph",
    "whole": "endings.py:graph",
    "booking": "booking.py:graph",
    "delta": "differences.py:graph",
    "nested": "nested.py:graph",
    "discreet": "discreet.py:graph",
    "fanning": "fanning.py:graph",
    "ranging": "ranging.py:graph",
    "fanning-whole": "fanning.py:graph",
}
"""Name → graph of tests/graphs."""
COMMIT = "turn=turn,whole=turn,fanning-whole=turn"
"""The agents whose state is committed only at their turns' end."""

started: list[Server] = []
"""Of this run, so that a failed test can show what they said."""


class Server:
    """One replica; started again, it is the same replica in its next boot: same port, same directory."""

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
        aloof: bool = False,
        agents: Mapping[str, str] = AGENTS,
        program: Path = UNBROKEN,
        folder: Path | None = None,
    ) -> None:
        """`database_url` None: the embedded database, in `directory`. `within`: a command that runs it elsewhere, as
        `ip netns exec NAME` does, and becomes it. `aloof`: a terminal's Ctrl-C does not reach it. `agents`: by name,
        where in tests/graphs; none of them where a project is served. `folder`: in which it is started."""
        self.host = host
        self.port = free_port()
        self._within = within
        self._program = program
        self._folder = folder or directory
        self._group = 0 if aloof else None
        self.log = directory / "server.log"
        self._agents = agents
        self._arguments = arguments
        self._agents = agents
        self._environment = dict(environment or {})
        if host != "127.0.0.1":
            self._environment["UNBROKEN_HOST"] = host
        self._data_dir = directory / "data"
        if database_url is not None:
            self._environment["DATABASE_URL"] = database_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def started(self) -> bool:
        """Whether it ever was."""
        return self._process is not None

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()

    def start(self) -> None:
        agents = [part for name, where in self._agents.items() for part in ("--agent", f"{name}={GRAPHS / where}")]
        options = ["--port", str(self.port), "--data-dir", str(self._data_dir), *agents, *self._arguments]
        commits = {"UNBROKEN_AGENT_COMMIT": COMMIT} if self._agents is AGENTS else {}
        started.append(self)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._within, self._program, "serve", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(**commits, **self._environment),
                cwd=self._folder,
                process_group=self._group,
            )

    def wait_ready(self) -> None:
        """Until requests are answered. Raises AssertionError with the server's own words if it ends before."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the server ended: {self.said()[-3000:]}"
            try:
                with urllib.request.urlopen(f"http://{self.host}:{self.port}/api/threads/none/messages", timeout=5):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not get ready: {self.said()[-3000:]}")

    def kill(self) -> None:
        """`kill -9`: no goodbye, no flush."""
        self.process.kill()
        self.process.wait(STOP_LIMIT_S)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; returns its exit code. What hangs is killed, and that is an error."""
        self.process.send_signal(by)
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop: {self.said()[-3000:]}") from None

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def environment(**given: str) -> dict[str, str]:
    """This process's, without the settings of whoever runs the tests."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("UNBROKEN_") and key != "DATABASE_URL"}
    return own | {"PYTHONUNBUFFERED": "1"} | given
