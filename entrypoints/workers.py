"""Several processes that serve one port, each a replica of its own, and the one that starts, watches and stops them.

    starting ──▶ serving ──signal──▶ stopping: each is told, and has its limit ──▶ exit
        │           └─ ends ──▶ started again, later each time ──▶ serving
        └─ ends ──▶ given up, if nobody has ever served, or nobody else does and this was its third start in vain

It serves nobody itself: it holds the port, runs the embedded database, and brings the schema up to date once.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import click
import msgspec

from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.listener import reserved
from unbroken.entrypoints.served_database import database
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.stopping import CUT_OFF, Stopping
from unbroken.entrypoints.worker import REPLACED, Task

log = logging.getLogger(__name__)

LOOK_S: Final = 0.1
"""Pause between two looks at the workers."""
GIVE_UP_AFTER: Final = 3
"""Starts of one worker that ended before it served."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""Whoever has served for so long and then ends is started again as if for the first time."""
BEYOND_THE_LIMIT_S: Final = 3.0
"""What the workers get beyond their own limit before they are killed."""
METRICS_PORT: Final = "OTEL_EXPORTER_PROMETHEUS_PORT"


def run_workers(settings: Settings, options: Mapping[str, Any], stopping: Stopping) -> None:
    """Serve with `settings.workers` processes until SIGINT or SIGTERM; `options`: of the command line, which they are
    given as well; `stopping`: entered already. Exit codes are those of one process. Raises UnbrokenError or
    EmbeddedError with one line to show."""
    run(settings, options, stopping, Workers)


def run(
    settings: Settings,
    options: Mapping[str, Any],
    stopping: Stopping,
    made: Callable[[Settings, Mapping[str, Any], str | None], Workers],
) -> None:
    """Until they have ended. Raises what `run_workers` does."""
    stopping.limit_s = settings.stop_limit_s + BEYOND_THE_LIMIT_S
    stopping.go_on()
    with reserved(settings.host, settings.port) as port, database(settings, stopping) as url:
        workers = made(settings, {**options, "port": port}, url)
        stopping.on_cut_off.insert(0, workers.kill)
        workers.on_give_up = stopping.begin
        stopping.comes_up(workers.stop)
        with workers.none_left():
            code = workers.watch()
        if stopping.signalled == signal.SIGINT and not workers.ever_served:
            raise KeyboardInterrupt
    if code:
        sys.exit(code)


class Seat:
    """The place of one worker, whoever sits in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.line: socket.socket | None = None
        self.serves = False
        self.failures = 0
        """Ends in a row, each too soon."""
        self.unserved = 0
        """Starts in a row that ended before it served."""
        self.begins_at = 0.0
        """When the next one is started, by the monotonic clock."""
        self.began_at = 0.0

    def __str__(self) -> str:
        return f"worker {self.number}"


class Workers:
    """`watch` and the methods that signals call belong to the main thread; `kill` may be called from any."""

    def __init__(self, settings: Settings, options: Mapping[str, Any], url: str | None) -> None:
        """`url`: of the database; None: each worker has its own memory, of which there can be but one."""
        self.ever_served = False
        self.on_give_up: Callable[[], object] = lambda: None
        """Called when they are told to stop for a reason of ours: the limit of a stop counts from then on."""
        self._settings = settings
        self._options = options
        self.url = url
        self.seats = [Seat(number) for number in range(1, settings.workers + 1)]
        self._stopping = False
        self._told = False
        self._cut_off = False
        self._failure: str | None = None

    def stop(self) -> None:
        """Tell everyone to stop, soon: this may interrupt anything."""
        self._stopping = True

    def kill(self) -> None:
        for seat in self.seats:
            if seat.process is not None:
                with suppress(OSError):
                    seat.process.kill()

    @contextmanager
    def none_left(self) -> Iterator[None]:
        """However this ends, nobody goes on without us."""
        try:
            yield
        finally:
            self.kill()
            for seat in self.seats:
                if seat.process is not None:
                    seat.process.wait()

    def watch(self) -> int:
        """Until all have ended; returns the exit code. Raises click.ClickException if they were given up."""
        with selectors.DefaultSelector() as lines:
            while self._stopping is False or any(seat.process for seat in self.seats):
                self._look(lines)
                for key, _ in lines.select(LOOK_S):
                    self._hear(lines, key.data)
        if self._failure is not None:
            raise click.ClickException(self._failure)
        return CUT_OFF if self._cut_off else 0

    def look(self) -> None:
        """Something else to look at, as often as at the workers, until they are to stop."""

    def environment(self, seat: Seat) -> dict[str, str]:
        assert self.url is not None, "the settings refuse workers in memory"
        return _environment(seat.number, self.url)

    def _look(self, lines: selectors.BaseSelector) -> None:
        if not self._stopping:
            self.look()
        for seat in self.seats:
            if seat.process is not None and seat.process.poll() is not None:
                self._ended(lines, seat, seat.process)
            if seat.process is None and not self._stopping and time.monotonic() >= seat.begins_at:
                self._try_to_start(lines, seat)
        if self._stopping and not self._told:
            self._told = True
            for seat in self.seats:
                if seat.process is not None:
                    seat.process.terminate()

    def _try_to_start(self, lines: selectors.BaseSelector, seat: Seat) -> None:
        """Where the system has no room for another process just now, the others serve on."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._not_started(seat, error)
            return
        try:
            self._start(lines, seat, ours, theirs)
        except OSError as error:
            ours.close()
            self._not_started(seat, error)

    def _not_started(self, seat: Seat, error: OSError) -> None:
        seat.begins_at = time.monotonic() + LONGEST_PAUSE_S
        log.error("%s cannot be started: %s; it is tried again in %g s", seat, error, LONGEST_PAUSE_S)

    def _start(self, lines: selectors.BaseSelector, seat: Seat, ours: socket.socket, theirs: socket.socket) -> None:
        name = f"{self._settings.replica}:{seat.number}"
        options = {**self._options, "replica_name": name, "workers": 1}
        task = Task(seat.number, theirs.fileno(), options)
        with theirs:
            seat.process = subprocess.Popen(
                [sys.executable, "-m", "unbroken.entrypoints.cli", "worker", msgspec.json.encode(task).decode()],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=self.environment(seat),
                process_group=0,  # Ctrl-C in a terminal is for us alone: we tell them
            )
        ours.setblocking(False)
        seat.line, seat.serves, seat.began_at = ours, False, time.monotonic()
        lines.register(ours, selectors.EVENT_READ, seat)

    def _hear(self, lines: selectors.BaseSelector, seat: Seat) -> None:
        assert seat.line is not None
        try:
            heard = seat.line.recv(1)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            lines.unregister(seat.line)  # it is about to end
            seat.line.close()
            seat.line = None
            return
        seat.serves, seat.unserved = True, 0
        if not self.ever_served:
            self.ever_served = True
            host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
            click.echo(f"page    http://{host}:{self._options['port']}/", err=True)
            click.echo(f"socket  ws://{host}:{self._options['port']}/api/chat/ws?threadId=…&cursor=0", err=True)
        if all(other.serves for other in self.seats):
            log.info("all %d workers serve", len(self.seats))

    def _ended(self, lines: selectors.BaseSelector, seat: Seat, process: subprocess.Popen[bytes]) -> None:
        if seat.line is not None:
            self._hear(lines, seat)  # its last word may lie there still
        if seat.line is not None:
            lines.unregister(seat.line)
            seat.line.close()
            seat.line = None
        seat.process = None
        code = process.returncode
        if self._stopping:
            self._cut_off = self._cut_off or code == CUT_OFF or code == -signal.SIGKILL
            return
        self.replace(seat, process, code)
        seat.serves = False

    def replace(self, seat: Seat, process: subprocess.Popen[bytes], code: int) -> None:
        """What follows on the end of a worker that nobody told to stop: the next one, or nobody."""
        how = f"was killed by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
        seat.failures = 0 if seat.serves and time.monotonic() - seat.began_at > STEADY_S else seat.failures + 1
        seat.unserved += not seat.serves
        others_serve = any(other.serves for other in self.seats if other is not seat)
        in_vain = not self.ever_served or (seat.unserved >= GIVE_UP_AFTER and not others_serve)
        if code == REPLACED:
            self._give_up(f"another process now runs as the replica of {seat}; all have stopped")
        elif not seat.serves and in_vain:
            self._give_up(f"{seat} {how} before it served: the log above says why; all have stopped")
        else:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(10, max(0, seat.failures - 1)))
            seat.begins_at = time.monotonic() + pause_s
            log.warning("%s (pid %d) %s; it is started again in %g s", seat, process.pid, how, pause_s)

    def _give_up(self, why: str) -> None:
        self._failure = self._failure or why
        self._stopping = True
        self.on_give_up()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has none
        return f"signal {number}"


def _environment(number: int, url: str) -> dict[str, str]:
    """Of a worker: the page of its metrics, if it has one, cannot be where another's is."""
    environment = os.environ | {"DATABASE_URL": url}
    if environment.get("OTEL_METRICS_EXPORTER") == "prometheus":
        first = environment.get(METRICS_PORT) or "9464"
        if not first.isdecimal():
            raise InvalidValue(METRICS_PORT, f"{first!r} is no port")
        environment[METRICS_PORT] = str(int(first) + number - 1)
    return environment
