"""I12: what a burst of large answers has taken is the system's again, not the C library's for ever."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from unbroken.entrypoints import server
from unbroken.entrypoints.listener import listen
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.stopping import Stopping

BURST = """
import psutil
from unbroken.entrypoints.allocator import give_back_what_is_large
from unbroken.entrypoints.stopping import Stopping

def resident():
    return psutil.Process().memory_info().rss

if {guarded}:
    give_back_what_is_large()
before = resident()
del (once := [bytearray(8 << 20)])[:]
burst, small = [], []
for number in range(200):
    burst.append(bytearray(b"x" * 300_000))
    small.append(bytearray(b"x" * 20_000))
del burst
print(resident() - before)
"""


def kept(*, guarded: bool) -> int:
    """Bytes that stay with a process after a burst of 60 MB in blocks of 300 KB, small ones that live on between."""
    done = subprocess.run(
        [sys.executable, "-c", BURST.format(guarded=guarded)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_a_burst_of_large_blocks_is_given_back() -> None:
    assert kept(guarded=True) < 15_000_000


def test_without_being_asked_the_c_library_keeps_it() -> None:
    """Or else the guard is not needed any more. Elsewhere than on glibc it never was."""
    assert kept(guarded=False) > 45_000_000 or platform.libc_ver()[0] != "glibc"


def test_a_server_asks_for_it_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Exception):
        pass

    def ask() -> None:
        raise Asked

    monkeypatch.setattr(server, "give_back_what_is_large", ask)
    with listen("127.0.0.1", 0) as listener, pytest.raises(Asked):
        server.run(Settings(in_memory=True, port=0), Stopping(), listener)
