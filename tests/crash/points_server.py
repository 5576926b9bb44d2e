"""`python -m tests.crash.points_server`: a process with everything imported, that forks servers which die at a point.

One JSON object a line. In: `{"serve": number, "port", "database_url", "replica", "point", "when", "passing", "armed",
"stalls", "trouble", "record"}`, `{"kill": number}`, `{"stop": number}` or `{"thaw": number}`. Out: `{"ready": true}`,
`{"started": number}`, `{"stalled": number, "at"}` and `{"ended": number, "code", "at"}`.

A listener is bound once a port and stays open here: who connects between two servers waits for the second one.
Forked before there is a thread or an event loop, so that a server begins as one that was started would.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Any, Final

import uuid_utils
from msgspec import Struct, convert

from tests.crash import instrument
from tests.crash.instrument import When
from tests.crash.trouble import Trouble, bring

if TYPE_CHECKING:
    from unbroken.entrypoints.service import Service

log = logging.getLogger(__name__)

SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGTERM, "thaw": signal.SIGCONT}
ARMED_BY: Final = "application.accept_event:"
"""From the first passing of such a point on the first message is on its way."""


class Order(Struct, frozen=True):
    """What a server is to be, and where it is to die."""

    serve: int
    port: int
    database_url: str
    replica: str
    point: str = ""
    """Empty: nowhere."""
    when: When = "before"
    passing: int = 1
    """The how-manieth time of passing kills."""
    armed: bool = True
    """Passings count only once the first message is on its way."""
    stalls: bool = False
    """It stands still there, until it is thawed, instead of dying."""
    trouble: Trouble = ""
    record: str = ""
    """A file for the names that are passed, one a line: `armed name when`. Empty: none."""


class Trap:
    """Of one process: set in the child, sprung by the points."""

    def __init__(self) -> None:
        self._order: Order | None = None
        self._left = 0
        self._armed = False
        self._file = -1

    def set(self, order: Order) -> None:
        self._order, self._left = order, order.passing
        if order.record:
            self._file = os.open(order.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def passed(self, name: str, when: When) -> None:
        order = self._order
        if order is None:
            return
        self._armed = self._armed or name.startswith(ARMED_BY)
        if self._file >= 0:
            os.write(self._file, f"{int(self._armed)} {when} {name}\n".encode())
        if name == order.point and when == order.when and self._armed >= order.armed:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGSTOP if order.stalls else signal.SIGKILL)


def main() -> None:
    trap = Trap()
    instrument.install(trap.passed)
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(asctime)s %(name)s %(message)s")
    serving = Serving(trap)
    gc.freeze()
    assert threading.active_count() == 1, f"forking would lose {threading.enumerate()}"
    Zygote(serving).run()


class Serving:
    """What every server has in common, made once: its settings, its graphs, and its application, whose service a fork
    opens as it is ordered to. Most of a start is work on these, and nothing of it can be interrupted by a point."""

    def __init__(self, trap: Trap) -> None:
        from unbroken.entrypoints import server
        from unbroken.entrypoints.settings import read_settings
        from unbroken.entrypoints.web.app import create_app
        from unbroken.entrypoints.web.guard import guard_of

        self._trap = trap
        self._settings = read_settings()
        self._graphs = server.agent_graphs(self._settings)
        self._open: Callable[[], AbstractAsyncContextManager[Service]] | None = None
        self._app = create_app(self._opened, guard_of(self._settings))
        config = server._config(self._settings, self._app)
        config.load()  # imports what a server would import as it starts
        config.get_loop_factory()
        importlib.import_module("anyio._backends._asyncio")

    def __call__(self, order: Order, listener: socket.socket) -> None:
        """As `unbroken serve`, on a listener and over a database that are there already."""
        from unbroken.entrypoints import server
        from unbroken.entrypoints.service import running
        from unbroken.entrypoints.stopping import Stopping
        from unbroken.entrypoints.web.app import stop_serving

        self._trap.set(order)
        bring(order.trouble)
        own = {"database_url": order.database_url, "replica_name": order.replica, "port": order.port}
        settings = self._settings.model_copy(update=own)
        with Stopping(settings.stop_limit_s) as stopping:
            lost = server.Lost(stopping)
            self._open = lambda: running(settings, settings.database_url, self._graphs, on_lost=lost)

            async def drain() -> None:
                await stop_serving(self._app, settings.drain_s)

            lost.server = uvicorn = server._Server(server._config(settings, self._app), drain)
            stopping.comes_up(uvicorn.stop)
            server._run(uvicorn, listener)

    def _opened(self) -> AbstractAsyncContextManager[Service]:
        assert self._open is not None, "the application is made before there is an order, and started after it"
        return self._open()


class Zygote:
    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._listeners: dict[int, socket.socket] = {}
        self._children: dict[int, int] = {}
        """Process → number of its order."""

    def run(self) -> None:
        """Until standard input ends; then every child is killed."""
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())
        selector = DefaultSelector()
        selector.register(woken, EVENT_READ)
        selector.register(sys.stdin, EVENT_READ)
        pending = b""
        _tell(ready=True)
        try:
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if woken in ready:
                    with contextlib.suppress(BlockingIOError):
                        woken.recv(4096)
                    self._reap()
                if sys.stdin in ready:
                    if not (data := os.read(0, 65536)):
                        return
                    *lines, pending = (pending + data).split(b"\n")
                    for line in lines:
                        self._obey(json.loads(line))
        finally:
            for child in self._children:
                os.kill(child, signal.SIGKILL)

    def _obey(self, given: dict[str, Any]) -> None:
        for word, by in SIGNALS.items():
            if word in given:
                for child in [child for child, number in self._children.items() if number == given[word]]:
                    os.kill(child, by)
                return
        order = convert(given, Order)
        listener = self._listener(order.port)
        child = os.fork()
        if child == 0:
            try:
                self._serve(order, listener)
            except BaseException:  # nothing may come back from here into the loop above
                log.exception("the server of order %d ended", order.serve)
                os._exit(1)
            os._exit(0)
        self._children[child] = order.serve
        _tell(started=order.serve)

    def _listener(self, port: int) -> socket.socket:
        from unbroken.entrypoints.listener import listen

        if port not in self._listeners:
            self._listeners[port] = listen("127.0.0.1", port)
        return self._listeners[port]

    def _serve(self, order: Order, listener: socket.socket) -> None:
        """In the child, which leaves the parent's pipes and signals alone."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        uuid_utils.reseed_rng()  # or two forks would give the same identities
        self._serving(order, listener)

    def _reap(self) -> None:
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if child == 0:
                return
            if os.WIFSTOPPED(status):
                _tell(stalled=self._children[child], at=time.time())
                continue
            _tell(ended=self._children.pop(child), code=os.waitstatus_to_exitcode(status), at=time.time())


def _tell(**told: Any) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    main()
