"""Hints by LISTEN/NOTIFY. Two connections of their own: one that hears, one that tells.

A NOTIFY takes a lock of the whole server until its transaction is durable, so that in a turn's transaction it would
undo group commit; here it waits for no disk. While one is under way hints gather, and leave together.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode, b64encode
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import asyncpg

from unbroken.adapters.carried_hints import CarriedWakeups, Company, until_ended
from unbroken.adapters.postgres.errors import DRIVER_ERRORS
from unbroken.adapters.postgres.pool import connect
from unbroken.domain.errors import UnbrokenError

log = logging.getLogger(__name__)

PAYLOAD_BYTES: Final = 7_999 // 4 * 3
"""Of a message: PostgreSQL takes less than 8,000 bytes, and base64 makes four of three."""
ANSWER_S: Final = 5.0
"""For connecting, for one statement, and for a probe to come back."""
PROBE_S: Final = 15.0
"""Between two probes: a connection that is only listened to says nothing when it is dead."""
DEAF_S: Final = 30.0
"""Between two probes where the first one was not heard."""
PAUSES_S: Final = (0.1, 5.0)
"""Between two tries to connect: the first, and the longest."""
LAST_HINTS_S: Final = 1.0
TROUBLE: Final = (*DRIVER_ERRORS, UnbrokenError)


class PostgresHints(CarriedWakeups):
    """Enter it to begin. A database that is away keeps nobody from anything: it is tried again for ever."""

    def __init__(self, url: str, *, replica: int, identity: str, company: Company) -> None:
        """`identity`: of the installation, letters and digits; several may share the database at `url`."""
        super().__init__(replica, company)
        self._url = url
        self._channel = f"unbroken_{identity}"
        self._probes = f"unbroken_{identity}_{replica}"
        """A channel that only this process listens to."""
        self._probed = asyncio.Event()
        self._teller: asyncpg.Connection | None = None
        self._telling = asyncio.Lock()
        self._deaf = False
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._listen_forever()), asyncio.create_task(self._tell_forever())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What waits to be told gets a second; sessions that were just given back are among it."""
        self._closing = True
        self._more.set()
        await asyncio.wait(self._tasks[1:], timeout=LAST_HINTS_S)
        await until_ended(self._tasks)
        await _closed(self._teller)

    @property
    def deaf(self) -> bool:
        """Whether this process hears nothing although it is connected: a transaction pooler stands between."""
        return self._deaf

    async def _tell_forever(self) -> None:
        pause_s, longest_s = PAUSES_S
        while self._waiting or not self._closing:
            await self._more.wait()
            if not self._waiting:
                continue
            if await self._tell_next():
                pause_s = PAUSES_S[0]
            elif self._closing:
                return
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, longest_s)

    async def _tell_next(self) -> bool:
        taken = self.take(PAYLOAD_BYTES)
        try:
            await self._notify(self._channel, taken.payload)
        except TROUBLE as error:
            log.info("hints wait, the database cannot be told: %s", error)
            self.give_back(taken)
            return False
        return True

    async def _notify(self, channel: str, payload: bytes) -> None:
        """As text without parameters: a pooler may give each statement another connection, on which nothing is
        prepared; and a setting of the session would stay there, so this one ends with its transaction."""
        async with self._telling:
            if self._teller is None or self._teller.is_closed():
                self._teller = await connect(self._url, timeout_s=ANSWER_S)
            try:
                await self._teller.execute(
                    "SELECT set_config('synchronous_commit', 'off', true),"
                    f" pg_notify('{channel}', '{b64encode(payload).decode()}')",
                    timeout=ANSWER_S,
                )
            except BaseException:
                self._teller.terminate()
                raise

    async def _listen_forever(self) -> None:
        pause_s, longest_s = PAUSES_S
        while not self._closing:
            try:
                if await self._listen():
                    pause_s = PAUSES_S[0]
                log.info("the connection that hears hints has ended; it is made anew")
            except TROUBLE as error:
                log.info("hints are not heard until the database can be reached: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)

    async def _listen(self) -> bool:
        """Until the connection ends, or turns out to be dead. Returns whether anything was heard on it."""
        connection = await connect(self._url, timeout_s=ANSWER_S)
        ended = asyncio.Event()
        heard = False
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await asyncio.wait_for(connection.add_listener(self._probes, self._on_probe), ANSWER_S)
            await asyncio.wait_for(connection.add_listener(self._channel, self._on_hints), ANSWER_S)
            await self._notify(self._channel, self.take(0).payload)
            while not (ended.is_set() or self._closing):
                answers = await self._answers()
                if heard and not answers:
                    return True
                heard = answers
                self._know(hears=answers)
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), PROBE_S if answers else DEAF_S)
                if not answers:
                    return False
            return heard
        finally:
            await _closed(connection)

    async def _answers(self) -> bool:
        """Whether a probe sent on the other connection is heard on this one."""
        self._probed.clear()
        await self._notify(self._probes, b"")
        try:
            await asyncio.wait_for(self._probed.wait(), ANSWER_S)
        except TimeoutError:
            return False
        return True

    def _know(self, *, hears: bool) -> None:
        if hears and self._deaf:
            log.info("LISTEN works again")
        elif not hears and not self._deaf:
            log.warning(
                "LISTEN is accepted and nothing is heard, as behind a transaction pooler: other replicas' hints come"
                " with the polls only. Set UNBROKEN_BUS_URL to a URL that leads to the database directly, or to nats://…"
            )
        self._deaf = not hears

    def _on_probe(self, *_: object) -> None:
        self._probed.set()

    def _on_hints(self, connection: object, pid: int, channel: str, payload: object) -> None:
        try:
            message = b64decode(str(payload), validate=True)
        except ValueError:
            message = b""
        self.heard(message)


async def _closed(connection: asyncpg.Connection | None) -> None:
    if connection is not None:
        with suppress(*DRIVER_ERRORS):
            await connection.close(timeout=1.0)
