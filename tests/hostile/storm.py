"""One storm: a service of its own, two well-behaved clients, and attackers around and beside them. The seed decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from tests.application.virtual_time import VirtualTimeLoop
from tests.hostile.attacker import SECRET, Attacker
from tests.hostile.friend import Friend
from tests.hostile.mischief import Known
from tests.hostile.owed import WrongAnswer
from tests.hostile.service import Host, hosting
from tests.hostile.tally import Tally

ATTACKERS: Final = 4
QUIET_S: Final = 120.0
"""Virtual seconds after the storm, in which everything accepted ends and everything else is forgotten."""


class Failed(AssertionError):
    """A storm that the service did not weather."""

    def __init__(self, seed: int, frames: int, tally: Tally, why: BaseException) -> None:
        last = "\n".join(f"  {name}: {repr(frame)[:500]}" for name, frame in tally.last.items())
        super().__init__(
            f"seed {seed}: {type(why).__name__}: {why}\nlast frames:\n{last}\n"
            f"replay: python -m tests.hostile --from-seed {seed} --storm {frames} --frames 1"
        )


def storm(seed: int, frames: int) -> Tally:
    """Run one to its end. Raises Failed."""
    tally = Tally()
    try:
        with listening() as said, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            untaken: list[dict[str, Any]] = []
            runner.get_loop().set_exception_handler(lambda _, context: untaken.append(context))
            runner.run(_storm(Random(seed), frames, tally))
        if untaken or said:
            raise WrongAnswer(f"unhandled: {untaken} {said}")
    except (Exception, asyncio.CancelledError) as why:
        raise Failed(seed, frames, tally, why) from why
    return tally


async def _storm(random: Random, frames: int, tally: Tally) -> None:
    known = Known()
    async with hosting() as host:
        before = asyncio.all_tasks()
        friends = [
            Friend(host, tally, "ann", SECRET, alone=True),
            Friend(host, tally, "bob", "of bob", alone=False),
        ]
        async with asyncio.TaskGroup() as group:
            for friend in friends:
                group.create_task(friend.converse())
            for friend in friends:  # a thread belongs to whoever speaks in it first
                await friend.first.wait()
            attackers = [Attacker(host, known, tally, f"mallory-{number}", random) for number in range(ATTACKERS)]
            attacks = [group.create_task(attacker.attack(frames // ATTACKERS)) for attacker in attackers]
            for attack in attacks:
                await attack
            for friend in friends:
                friend.done = True
        await asyncio.sleep(QUIET_S)
        await forgotten(host)
        left = asyncio.all_tasks() - before
        if left:
            raise WrongAnswer(f"tasks outlive the storm: {left}")


async def forgotten(host: Host) -> None:
    """Everything accepted has ended, and nothing is kept in memory for those who have left."""
    kept = {name: number for name, number in host.kept().items() if number}
    if kept:
        raise WrongAnswer(f"still held: {kept}")
    for thread_id in host.store.database.sessions:
        view = await host.store.sessions.view(thread_id)
        assert view is not None
        if view.pending:
            raise WrongAnswer(f"{thread_id}: never ended: {view.pending}")
        entries = await host.store.outbox.read(thread_id, after=0, limit=100_000)
        if [entry.log_index for entry in entries] != list(range(1, view.log_index + 1)):
            raise WrongAnswer(f"{thread_id}: the log has gaps")


class _Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(f"{record.getMessage()} {record.exc_info and record.exc_info[1]!r}")


@contextmanager
def listening() -> Iterator[list[str]]:
    """Whatever is logged as an error meanwhile."""
    handler = _Said()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.records
    finally:
        root.removeHandler(handler)
