"""How this process ends: asked once, within a limit; asked again, at once.

    starting ──signal──▶ the start is undone ──▶ exit 0 after SIGTERM, 130 after Ctrl-C
    serving ───signal──▶ draining ──▶ closing ──▶ exit 0
                            └────────────┴── limit passed, or a thread of an agent's never ends ──▶ exit 4
    from the first signal on ──signal──▶ exit 143 or 130, at once

Whatever way it ends, nothing accepted is lost: what was under way stays counted, and whoever serves next takes it up.

A signal's handler runs between any two instructions of the main thread. So it takes no lock, which that thread may
hold, as one that sets an Event does: a thread that waits from the beginning does the rest. And what it raises may come
to nothing: in a callback of a weak reference (each import ends in some), in a finalizer, in a library that catches
everything. So a start asks at each step whether it was told to end.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final, NoReturn, Self

log = logging.getLogger(__name__)

CUT_OFF: Final = 4
"""Exit code of a stop that did not end by itself within its limit."""
THREADS_GRACE_S: Final = 0.5
"""What idle threads of an executor need to notice that they are not wanted any more."""
BRIEFLY_S: Final = 1.0
LOADING_LIMIT_S: Final = 15.0
"""Of a stop, until the settings are read."""
_BEGIN: Final = 0
"""Told to the thread that enforces the limit; anything else is an exit code, for at once."""
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Ended(KeyboardInterrupt):
    """SIGTERM during the start, as an exception: whatever is open is closed on the way out. No SystemExit, which would
    be taken for a decision of what is being loaded."""


class Stopping:
    """Entered by the main thread before anything is started: from then on signals end the process as drawn above.

    `limit_s`: from the first signal, or from `begin`, until the process is gone. `alone` False: a second signal says
    the same as the first. It may have been sent to a group of processes, and sent on by the one that starts us, which
    ends us itself if that is wanted.
    """

    def __init__(self, limit_s: float = LOADING_LIMIT_S, *, alone: bool = True) -> None:
        self.limit_s = limit_s
        self.on_cut_off: list[Callable[[], object]] = []
        """Called before a hard exit, from any thread; must return at once."""
        self.signalled: int | None = None
        """The first signal."""
        self._on_request: Callable[[], object] | None = None
        """None: it has not come up yet, and whoever starts it gets an exception."""
        self._alone = alone
        self._begun = False
        self._told: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        """Its `put` may interrupt itself, as no lock's holder may. None: no limit is needed any more."""
        self._before: dict[signal.Signals, object] = {}
        self._unraisable_before = sys.unraisablehook

    def __enter__(self) -> Self:
        threading.Thread(target=self._enforce, name="unbroken-stop-limit", daemon=True).start()
        self._unraisable_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        self._before = {number: signal.signal(number, self._signalled) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to close. Threads that an agent's code blocks are not waited for.

        Raises KeyboardInterrupt, or SystemExit for SIGTERM, if the start was told to end, whatever became of that.
        """
        told_to_end = self.signalled is not None and self._on_request is None
        if error is None or told_to_end:
            self._leave_threads()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        sys.unraisablehook = self._unraisable_before
        if not self._begun:
            self._told.put(None)
        if told_to_end:
            if not isinstance(error, KeyboardInterrupt | None):
                log.warning("told to end while it started, which then failed: %s", error)
            if self.signalled == signal.SIGTERM:
                raise SystemExit(0) from error
            raise KeyboardInterrupt from error

    def go_on(self) -> None:
        """A step of the start begins. Raises if it was told to end and nobody heard."""
        if self.signalled is not None:
            raise _exception(self.signalled)

    def comes_up(self, on_request: Callable[[], object]) -> None:
        """The last step: from now on a signal calls `on_request`, in its handler, which must return at once and take no
        lock. Raises as `go_on` does."""
        self.go_on()
        self._on_request = on_request

    def _leave_threads(self) -> None:
        deadline = time.monotonic() + THREADS_GRACE_S
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
                if thread.is_alive():
                    log.warning("an agent's code still blocks the thread %r; it is cut off", thread.name)
                    self._cut_off(CUT_OFF)

    def begin(self) -> None:
        """The process is to end, for whatever reason: the limit counts from now on."""
        self._begun = True
        self._told.put(_BEGIN)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._begun:
            if self._alone:
                self._told.put(128 + number)
            return
        self.signalled = number
        self.begin()
        if self._on_request is None:
            raise _exception(number)
        self._on_request()

    def _unraisable(self, what: sys.UnraisableHookArgs) -> None:
        """What was raised where nothing can be: no loss, as the next step raises it again."""
        if self.signalled is None or not issubclass(what.exc_type, KeyboardInterrupt):
            self._unraisable_before(what)

    def _enforce(self) -> None:
        deadline: float | None = None
        while True:
            try:
                told = self._told.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                _briefly(lambda: log.error("the stop took longer than %g s: what still runs is cut off", self.limit_s))
                self._cut_off(CUT_OFF)
            if told is None:
                return
            if told != _BEGIN:
                self._cut_off(told)
            if deadline is None:
                deadline = time.monotonic() + self.limit_s

    def _cut_off(self, code: int) -> NoReturn:
        for last in (*self.on_cut_off, sys.stdout.flush, sys.stderr.flush):
            _briefly(last)
        os._exit(code)


def _exception(number: int) -> KeyboardInterrupt:
    return KeyboardInterrupt() if number == signal.SIGINT else Ended()


def _briefly(act: Callable[[], object]) -> None:
    """Nothing may keep a process that has to end: neither a log that nobody reads, nor a disk that hangs."""

    def attempt() -> None:
        with suppress(Exception):
            act()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(BRIEFLY_S)
