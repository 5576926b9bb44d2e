"""The recorder's process, and what its files say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.checker.history import Socket, read_trace
from tests.end_to_end.server import ROOT, environment
from tests.end_to_end.view import Frame, View

STOP_LIMIT_S = 30.0


class Watch(Struct, frozen=True):
    """One view that the recorder keeps."""

    name: str
    url: str
    thread: str
    agent: str
    acks: bool


class Recorder:
    """`start` returns when every view is connected; `stop` when everything is on disk."""

    def __init__(self, directory: Path, watches: list[Watch]) -> None:
        self._order = directory / "order.json"
        self._files = {watch.name: directory / f"{watch.name}.jsonl" for watch in watches}
        order = [_as_json(watch, self._files[watch.name]) for watch in watches]
        self._order.write_text(json.dumps(order))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.recorder", str(self._order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"recording\n", "the recorder did not get to its first connections"

    def stop(self) -> None:
        if self._process is not None:
            try:
                self._process.communicate(timeout=STOP_LIMIT_S)
            finally:
                self._process.kill()
            assert self._process.returncode == 0, "the recorder failed"

    def sockets(self, name: str) -> list[Socket]:
        """The same as the checker reads it."""
        return read_trace(self._files[name])

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What one view wrote so far; a line half written is left for later."""
        text = self._files[name].read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def replayed(lines: list[dict[str, Any]]) -> View:
    """The view as it stood at the end, with all the faults it saw."""
    view = View()
    for line in lines:
        if line["kind"] == "open":
            view.opened()
        elif line["kind"] == "frame":
            view.apply(line["frame"])
    return view


def shown_texts(lines: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(request id, text on the screen) after each frame that changed one."""
    for line in lines:
        if line["kind"] == "frame" and line["shown"] is not None:
            yield line["frame"]["requestId"], line["shown"]


def log_of(lines: list[dict[str, Any]]) -> list[Frame]:
    """The durable frames, in the order they came; a reconnect must not repeat any."""
    return [line["frame"] for line in lines if line["kind"] == "frame" and "cursor" in line["frame"]]


def _as_json(watch: Watch, file: Path) -> dict[str, Any]:
    return {
        "name": watch.name,
        "url": watch.url,
        "thread": watch.thread,
        "agent": watch.agent,
        "acks": watch.acks,
        "file": str(file),
    }
