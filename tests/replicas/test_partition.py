"""Packets that vanish: the cable does what it says, and a replica apart costs nobody anything but time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replicas.namespaces import Namespace, interfaces, ip, remove_leftovers
from tests.replicas.partition import HABITS, Cut, Experiment, Sighting, figures, sightings
from tests.replicas.place import LEASE_S
from tests.replicas.sights import Seen
from tests.replicas.test_replicas import folder  # noqa: F401

TALK = """
import socket, sys
talk = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30)
for line in sys.stdin:
    talk.settimeout(float(line))
    talk.sendall(b"x")
    try:
        print("heard" if talk.recv(10) else "ended", flush=True)
    except TimeoutError:
        print("silence", flush=True)
"""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """Where it cannot be made, this fails, and says what is missing."""
    with Namespace() as made:
        yield made


def test_on_a_cut_cable_packets_vanish_and_on_a_mended_one_they_arrive(namespace: Namespace) -> None:
    cable, other = namespace.cable(), namespace.cable()
    with socket.create_server((cable.root, 0)) as listener:
        command = [*namespace.within, sys.executable, "-c", TALK, cable.root, str(listener.getsockname()[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as far:
            assert far.stdin is not None
            assert far.stdout is not None
            talk, _ = listener.accept()
            with talk:

                def said(seconds: float) -> str:
                    assert far.stdin is not None
                    assert far.stdout is not None
                    far.stdin.write(f"{seconds}\n")
                    far.stdin.flush()
                    return far.stdout.readline().strip()

                talk.setblocking(True)
                talk.sendall(b"welcome")
                assert said(30.0) == "heard"
                other.cut()
                talk.sendall(b"y")
                assert said(30.0) == "heard"
                cable.cut()
                talk.sendall(b"y")
                assert said(0.5) == "silence"
                cable.mend()
                assert said(30.0) == "heard"
            far.stdin.close()


def mine() -> list[str]:
    return [name for name in interfaces() if name.startswith(f"ub{os.getpid()}")]


def test_nothing_is_left_of_a_namespace_nor_of_one_whose_process_died() -> None:
    died = subprocess.Popen([sys.executable, "-c", ""])
    died.wait()
    left = f"unbroken-{died.pid}"
    ip("netns", "add", left)
    with Namespace() as made:
        made.cable()
        assert left not in ip("netns", "list")
        assert mine() == [f"ub{os.getpid()}a"]
    assert made.name not in ip("netns", "list")
    assert mine() == []
    assert remove_leftovers() == []


def test_what_a_client_apart_saw_is_told_from_its_trace() -> None:
    cut = Cut("database", 10.0, 18.0)
    lines = [
        Seen("open", 1.0, url="a"),
        Seen("frame", 9.0, {"type": "token", "requestId": "q", "attempt": 1}),
        Seen("frame", 12.5, {"type": "token", "requestId": "q", "attempt": 1}),
        Seen("open", 14.0, url="b"),
        Seen("frame", 14.5, {"type": "token", "requestId": "q", "attempt": 2}),
        Seen("frame", 16.0, {"type": "final", "requestId": "q", "cursor": 1}),
    ]
    assert list(sightings(lines, cut, "a")) == [Sighting("database", 2.5, 4.0, 6.0)]
    assert list(sightings(lines, cut, "b")) == []
    assert list(sightings(lines[:1], cut, "a")) == []


@pytest.mark.slow
@pytest.mark.asyncio
async def test_who_is_cut_off_from_the_database_is_replaced_and_nobody_loses_anything(folder: Path) -> None:  # noqa: F811
    experiment = Experiment(5, folder, people=6, bus="nats", tell=print, habits=HABITS)
    outcome = await experiment.run(["database"])
    assert outcome.verdict.broken == []
    assert outcome.verdict.takeovers, "somebody was in the middle of an answer"
    assert all(one.seconds > LEASE_S / 3 for one in outcome.verdict.takeovers), "nobody may go first"
    assert all(sight.end_s is not None for sight in outcome.verdict.sights)
    assert figures(outcome, "nats", 6)["database_clients_met"] != 0
