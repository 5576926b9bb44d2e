"""One of several processes that serve one port: what it is told by the one that starts it, and how they hear of each
other.

workers ──── a socket that both hold ──── worker
        ◀── one byte: it serves
        end of file ──▶ it stops: whoever would have told it to is gone
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any, Final

import msgspec
from msgspec import Struct

from unbroken.domain.errors import InvalidValue

REPLACED: Final = 5
"""Exit code of a worker whose replica another process runs now: started again it would take it back, for ever."""
_SERVES: Final = b"+"


class Task(Struct, frozen=True):
    """What a worker is started with, as JSON on its command line."""

    number: int
    """From 1 on."""
    line: int
    """The file descriptor of its end of the socket."""
    options: dict[str, Any]
    """Settings beyond its environment's."""

    @classmethod
    def parse(cls, text: str) -> Task:
        """Raises InvalidValue: only `unbroken serve` starts workers."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise InvalidValue("worker", f"{error}: workers are started by `unbroken serve --workers`") from None


class Worker:
    """This process, as one of several."""

    def __init__(self, task: Task) -> None:
        self.number = task.number
        os.set_inheritable(task.line, False)  # what an agent starts must not keep the others waiting for our end
        self._line = socket.socket(fileno=task.line)

    def stop_when_alone(self) -> None:
        """From now on this process is told to stop if the one that started it ends, however it ends."""
        threading.Thread(target=self._watch, name="unbroken-worker-line", daemon=True).start()

    def serves(self) -> None:
        """Requests are answered from now on."""
        try:
            self._line.send(_SERVES)
        except OSError:
            return  # it is gone, and `_watch` has noticed

    def _watch(self) -> None:
        try:
            while self._line.recv(1):
                pass
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
