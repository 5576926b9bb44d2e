"""Looking for cycles costs a turn little, and cycles are still found."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from unbroken.entrypoints import server
from unbroken.entrypoints.settings import Settings

LATER = """
import gc, weakref
from unbroken.entrypoints.collector import EVERY_OBJECTS, leave_alone_what_is_there, look_for_cycles_less_often

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

look_for_cycles_less_often()
garbage = cycle()
leave_alone_what_is_there()
print(garbage() is None, gc.get_count()[0] < 100, len(gc.get_objects()) < 1_000 < gc.get_freeze_count())
later = cycle()
held = [[] for _ in range(EVERY_OBJECTS // 2)]
print(later() is None)
held = [[] for _ in range(2 * EVERY_OBJECTS)]
print(later() is None)
"""


def test_what_was_there_is_left_alone_and_a_later_cycle_is_found_by_itself_in_time() -> None:
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["True True True", "False", "True"]


def test_a_server_leaves_alone_what_is_there_once_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def serves() -> None:
        asked.append("leave alone")
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(server, "look_for_cycles_less_often", lambda: asked.append("less often"))
    monkeypatch.setattr(server, "leave_alone_what_is_there", serves)
    server.run(Settings(in_memory=True, port=0))
    assert asked == ["less often", "leave alone"]
