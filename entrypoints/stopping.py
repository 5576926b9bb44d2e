"""How this process ends: asked once, within a limit; asked again, at once.

    starting ──signal──▶ the start is undone ──▶ exit 0 after SIGTERM, 130 after Ctrl-C
    serving ───signal──▶ draining ──▶ closing ──▶ exit 0
                            └────────────┴── limit passed, or a thread of an agent's never ends ──▶ exit 4
    from the first signal on ──signal──▶ exit 143 or 130, at once

Whatever way it ends, nothing accepted is lost: what was under way stays counted, and whoever serves next takes it up.
"""

from __future__ import annotations

import logging
import os
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
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Ended(SystemExit):
    """SIGTERM during the start, as an exception: whatever is open is closed on the way out."""


class Stopping:
    """Entered by the main thread before anything is started: from then on signals end the process as drawn above.

    `limit_s`: from the first signal, or from `begin`, until the process is gone. `alone` False: a second signal says
    the same as the first. It may have been sent to a group of processes, and sent on by the one that starts us, which
    ends us itself if that is wanted.
    """

    def __init__(self, limit_s: float, *, alone: bool = True) -> None:
        self.on_request: Callable[[], object] | None = None
        """How to ask the server to stop; None: it has not come up yet, and whoever starts it gets an exception."""
        self.on_cut_off: list[Callable[[], object]] = []
        """Called before a hard exit, from any thread; must return at once."""
        self.signalled: int | None = None
        """The first signal."""
        self._limit_s = limit_s
        self._alone = alone
        self._begun = threading.Event()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._signalled) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to close. Threads that an agent's code blocks are not waited for."""
        if error is None:
            self._leave_threads()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

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
        if not self._begun.is_set():
            self._begun.set()
            threading.Thread(target=self._enforce, name="unbroken-stop-limit", daemon=True).start()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._begun.is_set():
            if not self._alone:
                return
            self._cut_off(128 + number)
        self.signalled = number
        self.begin()
        if self.on_request is not None:
            self.on_request()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise Ended(0)

    def _enforce(self) -> None:
        time.sleep(self._limit_s)
        _briefly(lambda: log.error("the stop took longer than %g s: what still runs is cut off", self._limit_s))
        self._cut_off(CUT_OFF)

    def _cut_off(self, code: int) -> NoReturn:
        for last in (*self.on_cut_off, sys.stdout.flush, sys.stderr.flush):
            _briefly(last)
        os._exit(code)


def _briefly(act: Callable[[], object]) -> None:
    """Nothing may keep a process that has to end: neither a log that nobody reads, nor a disk that hangs."""

    def attempt() -> None:
        with suppress(Exception):
            act()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(BRIEFLY_S)
