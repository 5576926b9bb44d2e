"""`python -m tests.crash.recorder ORDER.json`: clients in a process of their own, which only watch and write down.

The order is a JSON list of views: `{"name", "url", "thread", "agent", "acks", "file"}`. Each view follows its
thread through every cut until standard input ends; its file gets one JSON object a line: `open`, `closed`, and
each `frame` with the text that is on the screen after it, stamped with this machine's clock.

Imports nothing of the product: what it shows follows from docs/protocol.md alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TextIO

from tests.end_to_end.client import Client


async def record(order: list[dict[str, Any]], files: Sequence[TextIO]) -> None:
    async with AsyncExitStack() as stack:
        for view, file in zip(order, files, strict=True):
            watcher = Client(
                view["url"],
                thread=view["thread"],
                agent=view["agent"],
                acks=view["acks"],
                stays=True,
                record=writer_to(file),
            )
            await stack.enter_async_context(watcher)
        sys.stdout.write("recording\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def writer_to(file: TextIO) -> Callable[[dict[str, Any]], None]:
    def write(line: dict[str, Any]) -> None:
        file.write(json.dumps({"at": time.time()} | line, ensure_ascii=False) + "\n")

    return write


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text())
    files = [Path(view["file"]).open("a", encoding="utf-8", buffering=1) for view in order]  # noqa: SIM115
    try:
        asyncio.run(record(order, files))
    finally:
        for file in files:
            file.close()


if __name__ == "__main__":
    main()
