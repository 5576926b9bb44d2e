"""`unbroken chat` on a terminal of its own, and what it shows."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from collections.abc import Callable
from typing import Self

PROGRAM = "from unbroken.entrypoints.cli import main; main()"
CTRL_D = "\x04"


class Terminal:
    """`async with Terminal(url, "--agent", "one") as terminal:` is at its first prompt inside the block."""

    def __init__(self, url: str, *options: str, thread: str = "t1") -> None:
        self._ours, self._theirs = pty.openpty()
        self._command = [sys.executable, "-c", PROGRAM, "chat", "--url", url, "--thread", thread, *options]
        self._changed = asyncio.Event()
        self._from = 0
        self.shown = ""

    async def __aenter__(self) -> Self:
        end = self._theirs
        environment = os.environ | {"COLUMNS": "200", "TERM": "xterm"}
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stdin=end, stdout=end, stderr=end, env=environment
        )
        os.close(self._theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        await self.sees("you › ")
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        os.close(self._ours)

    def type(self, keys: str) -> None:
        """What is shown from now on is what `sees` looks at."""
        self._from = len(self.shown)
        os.write(self._ours, keys.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    async def sees(self, *words: str) -> str:
        """Until all these words were shown, in any order, since the last key; returns what was shown since then.
        Raises AssertionError."""

        def seen(shown: str) -> bool:
            return all(word in shown[self._from :] for word in words)

        try:
            await self.until(seen)
        except TimeoutError:
            raise AssertionError(f"{words} not seen in {self.shown[self._from :]!r}, all: {self.shown!r}") from None
        return self.shown[self._from :]

    async def answers(self, *words: str, prompt: str = "you") -> None:
        """As `sees`, and until it is the person's turn again."""
        await self.sees(*words)
        await self.until(lambda shown: shown.removesuffix("\x1b[0m").endswith(f"{prompt} › "))

    async def until(self, holds: Callable[[str], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds(self.shown):
                self._changed.clear()
                await self._changed.wait()

    async def ended(self) -> int:
        """The exit code."""
        async with asyncio.timeout(30):
            return await self.process.wait()

    def _read(self) -> None:
        try:
            data = os.read(self._ours, 65_536)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._ours)
            return
        self.shown += data.decode(errors="replace")
        self._changed.set()
