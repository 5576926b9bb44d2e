"""`unbroken chat`: a conversation in the terminal, or over a pipe (one message a line)."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import sys
import threading
from typing import Final
from uuid import uuid4

from rich.console import Console
from websockets.exceptions import InvalidURI

from unbroken.entrypoints.client.connection import ChatClient, ChatClosed, Status
from unbroken.entrypoints.client.screen import Screen
from unbroken.entrypoints.client.turn import Turn

STDIN: Final = 0


async def chat(
    url: str,
    *,
    thread_id: str | None = None,
    agent_id: str | None = None,
    user_id: str | None = None,
    stdin: int = STDIN,
) -> int:
    """Talk until the input ends and everything said was answered; the process's exit code.

    0: all was answered. 1: something was refused or failed, or the server does not want us.
    """
    thread_id = thread_id or uuid4().hex
    interactive = os.isatty(stdin)
    screen = Screen(Console(markup=False, highlight=False, soft_wrap=True), interactive=interactive)
    news = _News(interactive)
    lines = _lines(stdin)
    client = ChatClient(
        url,
        thread_id,
        agent_id=agent_id,
        user_id=user_id,
        on_frame=lambda _, conversation: screen.show(conversation),
        on_status=news.tell,
    )
    try:
        async with client:
            if interactive:
                screen.greet(thread_id)
                return await _talk(client, lines, screen)
            return await _recite(client, lines, screen)
    except asyncio.CancelledError:
        if interactive:
            print(file=sys.stderr)
        raise
    except (ChatClosed, InvalidURI) as end:
        advice = getattr(end, "advice", "")
        print(f"unbroken: {end}{': ' + advice if advice else ''}", file=sys.stderr)
        return 1


async def _talk(client: ChatClient, lines: asyncio.Queue[str | None], screen: Screen) -> int:
    """What is typed is sent at once; whoever types ahead waits in the server's queue, not here."""
    said: list[str] = []
    while True:
        screen.ask()
        next_line = asyncio.create_task(lines.get())
        closed = asyncio.create_task(client.closed())
        try:
            await asyncio.wait({next_line, closed}, return_when=asyncio.FIRST_COMPLETED)
            if closed.done():
                closed.result()
            line = next_line.result()
        finally:
            next_line.cancel()
            closed.cancel()
            await asyncio.gather(next_line, closed, return_exceptions=True)
        if line is None:
            break
        if line.strip():
            screen.typed()
            said.append(await client.send(line))
    turns = [await client.ended(request_id, timeout=None) for request_id in said]
    screen.show(client.conversation)
    return _exit_code(turns)


async def _recite(client: ChatClient, lines: asyncio.Queue[str | None], screen: Screen) -> int:
    """Line by line, each after the answer to the one before: a pipe cannot take back what it said too early."""
    turns: list[Turn] = []
    while (line := await lines.get()) is not None:
        if line.strip():
            request_id = await client.send(line)
            screen.mine(request_id)
            turns.append(await client.ended(request_id, timeout=None))
            screen.show(client.conversation)
    return _exit_code(turns)


def _exit_code(turns: list[Turn]) -> int:
    return 0 if all(turn.outcome == "answered" for turn in turns) else 1


class _News:
    """The connection's state in words, on stderr; the same words are not said twice in a row."""

    def __init__(self, interactive: bool) -> None:
        self._interactive = interactive
        self._last = ""
        self._lost = False

    def tell(self, status: Status, why: str) -> None:
        if status == "waiting":
            self._lost = True
            self._say(f"no connection ({why.partition(';')[0]}); trying again")
        elif status == "connected" and why:
            self._say(why)
        elif status == "connected" and self._lost:
            self._lost = False
            self._say("connected again")

    def _say(self, words: str) -> None:
        if words != self._last:
            self._last = words
            start = "\r\x1b[K" if self._interactive and sys.stderr.isatty() else ""
            print(f"{start}· {words}", file=sys.stderr, flush=True)


def _lines(stdin: int) -> asyncio.Queue[str | None]:
    """The input's lines, then None. Read by a daemon thread, so that neither a terminal nor a file blocks the loop."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(line: str | None) -> None:
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
        put(None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return lines


def _read(stdin: int) -> bytes:
    try:
        return os.read(stdin, 65_536)
    except OSError:
        return b""
