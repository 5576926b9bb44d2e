"""Looking for cycles costs a turn little, and cycles are still found."""

from __future__ import annotations

import subprocess
import sys

LATER = """
import gc, weakref
from unbroken.entrypoints.collector import leave_alone_what_is_there

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

garbage = cycle()
leave_alone_what_is_there()
print(garbage() is None, len(gc.get_objects()) < 1_000 < gc.get_freeze_count())
later = cycle()
held = [[] for _ in range(2 * gc.get_threshold()[0])]
print(later() is None)
"""
GROWN = """
import asyncio, gc, weakref
from unbroken.entrypoints.collector import collect_when_grown, leave_alone_what_is_there

class Node:
    pass

async def main():
    looking = asyncio.create_task(collect_when_grown(grown_bytes=16 << 20, every_s=0.001))
    await asyncio.sleep(0)
    first = None
    for number in range(200):
        node = Node()
        node.itself, node.data = node, b"x" * (1 << 20)
        first = first or weakref.ref(node)
        if first() is None:
            print(number >= 16)
            return
        await asyncio.sleep(0.002)
    print("never")

leave_alone_what_is_there()
asyncio.run(main())
"""
SERVING = """
import gc, signal
from unbroken.entrypoints import server
from unbroken.entrypoints.listener import listen
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.stopping import Stopping

def then():
    leave_alone()
    print(gc.get_freeze_count() > 50_000)
    signal.raise_signal(signal.SIGTERM)

leave_alone, server.leave_alone_what_is_there = server.leave_alone_what_is_there, then
with Stopping() as stopping, listen("127.0.0.1", 0) as listener:
    server.run(Settings(in_memory=True, port=0), stopping, listener)
"""


def test_what_was_there_is_left_alone_and_a_later_cycle_is_found_by_itself() -> None:
    assert _said(LATER) == ["True True", "True"]


def test_cycles_that_hold_much_are_found_before_there_are_many() -> None:
    assert _said(GROWN) == ["True"]


def test_a_server_leaves_alone_what_is_there_once_it_serves() -> None:
    assert "True" in _said(SERVING)


def _said(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.splitlines()
