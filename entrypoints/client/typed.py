"""What comes in from the person, or the pipe: lines, the end of them, and Ctrl-C."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import enum
import os
import signal
import threading
from collections.abc import Iterator
from typing import Final


class Key(enum.Enum):
    END = enum.auto()
    """No line comes after it."""
    INTERRUPT = enum.auto()


Typed = asyncio.Queue[str | Key]
CHUNK: Final = 65_536


def typed(stdin: int) -> Typed:
    """The input's lines, then END. Read by a daemon thread, so that neither a terminal nor a file blocks the loop."""
    lines: Typed = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(line: str | Key) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while data := _read(stdin):
            *whole, rest = (rest + decoder.decode(data)).split("\n")
            for line in whole:
                put(line.removesuffix("\r"))
        if rest := rest + decoder.decode(b"", final=True):
            put(rest)
        put(Key.END)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return lines


@contextlib.contextmanager
def interrupts(lines: Typed) -> Iterator[None]:
    """Within the block Ctrl-C is typed like a line. If the one before was not even taken note of, it ends the task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    unheard: list[Key] = []

    def interrupted() -> None:
        if Key.INTERRUPT in unheard and not lines.empty() and task is not None:
            task.cancel()
        unheard[:] = [Key.INTERRUPT]
        lines.put_nowait(Key.INTERRUPT)

    try:
        loop.add_signal_handler(signal.SIGINT, interrupted)
    except (NotImplementedError, RuntimeError, ValueError):  # no such thing here, or not the main thread: it ends us
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _read(stdin: int) -> bytes:
    try:
        return os.read(stdin, CHUNK)
    except OSError:
        return b""
