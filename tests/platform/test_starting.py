"""While a server starts its port is taken already: who comes back waits, and is not refused."""

from __future__ import annotations

import sys
import threading
import urllib.request
from pathlib import Path
from typing import Final

import pytest

from tests.end_to_end.ports import free_port
from tests.platform.test_stopping import COMMAND, FINDER, GRAPH, SOON_S, says, starting

LOADS_UNTIL_TOLD: Final = """
import pathlib, time
print("loading", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.01)
"""


@pytest.mark.parametrize("what", ["libraries", "agents"])
def test_who_comes_while_something_loads_is_answered_once_it_is(folder: Path, what: str) -> None:
    """LangGraph's clients give up after six refusals; a connection that nobody has answered yet they leave open."""
    (folder / "slow.py").write_text((LOADS_UNTIL_TOLD if what == "agents" else "") + GRAPH)
    command = (FINDER % ("server", LOADS_UNTIL_TOLD) if what == "libraries" else "") + COMMAND
    port = free_port()
    arguments = ("serve", "--in-memory", "--port", str(port), "--agent", "a=slow.py:graph")
    statuses: list[int] = []

    def ask() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ok", timeout=SOON_S) as answer:
            statuses.append(answer.status)

    with starting(folder, sys.executable, "-c", command, *arguments) as process:
        says(process, "loading")
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join(0.2)
        (folder / "go").touch()
        asking.join(SOON_S)
    assert statuses == [200]
