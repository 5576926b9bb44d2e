"""The whole of it on loopback: PostgreSQL, three replicas and HAProxy as configured; and a deploy while people talk."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.ports import free_port
from tests.end_to_end.server import GRAPHS, ROOT, environment

pytestmark = pytest.mark.slow

REPLICAS = ("replica-1", "replica-2", "replica-3")
START_LIMIT_S = 300.0
STOP_LIMIT_S = 120.0


class Stack:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.said = folder / "stack.log"
        self.folder = folder
        arguments = [
            "--port",
            str(self.port),
            "--data-dir",
            str(folder / "data"),
            "--agent",
            f"one={GRAPHS / 'one_node.py'}:graph",
        ]
        with self.said.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "deploy" / "stack.py", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(UNBROKEN_DRAIN_S="1"),
                cwd=folder,
            )

    def wait_for(self, words: str, limit_s: float = START_LIMIT_S) -> None:
        deadline = time.monotonic() + limit_s
        while words not in self.said.read_text():
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.1)

    def told(self) -> str:
        logs = [self.said, *sorted((self.folder / "data" / "logs").glob("*.log"))]
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)

    def joined(self, replica: str) -> int:
        """How often it has begun."""
        return (self.folder / "data" / "logs" / f"{replica}.log").read_text().count(f"joined as {replica}")


@pytest.fixture
def stack(folder: Path) -> Iterator[Stack]:
    running = Stack(folder)
    try:
        running.wait_for("is the door")
        yield running
    finally:
        running.process.send_signal(signal.SIGTERM)
        try:
            running.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            running.process.kill()
            raise


@pytest.mark.asyncio
async def test_people_talk_through_the_proxy_while_every_replica_is_replaced(stack: Stack) -> None:
    url = f"ws://127.0.0.1:{stack.port}"
    clients = [Client(url, thread=f"t{number}", agent="one", user=f"u{number}", stays=True) for number in range(9)]
    for client in clients:
        await client.__aenter__()
    try:
        first = [await client.say("words=5") for client in clients]
        for client, request in zip(clients, first, strict=True):
            await client.answered(request)
        before = [await client.say("words=20 pause=0.1") for client in clients]
        stack.process.send_signal(signal.SIGHUP)
        while not all(stack.joined(replica) == 2 for replica in REPLICAS):
            assert stack.process.poll() is None, stack.told()
            asked = [await client.say("words=5") for client in clients]
            for client, request in zip(clients, asked, strict=True):
                await client.answered(request)
            await asyncio.sleep(0.2)
        for client, request in zip(clients, before, strict=True):
            (end,) = await client.answered(request)
            assert end["type"] == "final"
            assert client.view.faults == []
            assert client.connected >= 2, "it was never sent elsewhere"
    finally:
        await asyncio.gather(*(client.leave() for client in clients))
    sent_elsewhere = [stack.joined(replica) for replica in REPLICAS]
    assert sent_elsewhere == [2, 2, 2]
    has_bus = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") is not None
    assert ("hints go through PostgreSQL" in stack.said.read_text()) != has_bus
