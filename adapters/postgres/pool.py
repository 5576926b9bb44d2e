"""Connections: made with the right settings, handed out one call at a time, given back whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from unbroken.adapters.postgres import pooler
from unbroken.adapters.postgres.errors import DRIVER_ERRORS, may_pass, translated, unreachable
from unbroken.domain.errors import InvalidValue

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
"""For one connection."""
QUEUE_TIMEOUT_S: Final = 30.0
"""How long a call waits in line for a free connection: a burst on a busy machine is no outage."""
PATIENCE_S: Final = 3.0
"""How long a call that has sent nothing yet keeps trying to connect: a restart of the database fits in."""
STATEMENT_TIMEOUT_S: Final = 10.0
"""After it the server gives up and rolls back, which is certain; so it must come before the driver's own."""
COMMAND_TIMEOUT_S: Final = 15.0
KEPT_S: Final = 60.0
"""How often what is kept here goes back to the driver's pool, which closes connections that have worked for long."""
IDLE_S: Final = 300.0
"""After it the driver's pool closes what came back and nobody has asked for since, but for its least four."""

NAMED: Final = {"application_name": "unbroken"}

SESSION_SETTINGS: Final = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_S * 1000:.0f}",
    "idle_in_transaction_session_timeout": "30000",
    # Every hot statement looks up keys: compiling it, or planning it anew, costs more than running it.
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    # A plan made while a table was one page long would go on reading all of it, until the next ANALYZE, however many
    # sessions begin meanwhile.
    "enable_seqscan": "off",
}
SERVER_SETTINGS: Final = NAMED | SESSION_SETTINGS
POOLED_SETTINGS: Final = pooler.settings_of_one_transaction(SESSION_SETTINGS)
POOLED_BEGIN: Final = f"BEGIN; {POOLED_SETTINGS}"

PREPARED: Final = 100
"""Statements that stay prepared on a connection: more than there are."""

JSONB_VERSION: Final = b"\x01"

Row = asyncpg.Record


class Connection(asyncpg.Connection):
    """Not reset on release, which would cost a round trip after each call (measured: 40 to 60 µs).

    Safe, because only this package uses it, and leaves nothing behind: it never changes a session's settings, listens,
    opens cursors or takes session locks. The driver itself still rolls back a transaction that was left open.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


async def connect(url: str, *, timeout_s: float = CONNECT_TIMEOUT_S) -> asyncpg.Connection:
    """One connection for migrations and heartbeats: nothing stays prepared, so it works behind a transaction pooler.

    Raises InvalidValue for a malformed URL, StoreUnavailable for everything else, each in one line without secrets.
    """
    try:
        return await asyncpg.connect(url, timeout=timeout_s, statement_cache_size=0, server_settings=NAMED)
    except (*DRIVER_ERRORS, ValueError) as error:
        raise _not_connected(error, url) from None


def _not_connected(error: Exception, url: str) -> Exception:
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return InvalidValue("DATABASE_URL", " ".join(str(error).split()))
    return unreachable(error, _address(url))


def _address(url: str) -> str:
    """Host and port, without the user and the password; empty if the URL holds none to read."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "")


class Pool:
    """Runs single statements, each of them a transaction of its own.

    Between two statements a connection is kept here: taking it from the driver's pool and giving it back costs more
    than the statement itself. What was raised on goes back there, where it is brought to rest or thrown away.

    `pooled`: behind a transaction pooler. Then each statement is sent between a BEGIN that brings its settings and a
    COMMIT, and runs to its end like a write.
    """

    def __init__(self, pool: asyncpg.Pool, *, pooled: bool = False) -> None:
        self._pool = pool
        self._pooled = pooled
        self._places = asyncio.Semaphore(pool.get_max_size())
        """First come, first served. Whoever has a place finds a connection here, or one in the driver's pool."""
        self._kept: list[PoolConnectionProxy] = []
        self._kept_until_s = 0.0
        """Monotonic."""
        self._closing = False
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def read(self, query: str, *args: Any) -> Sequence[Row]:
        """Run a statement that can be repeated. Raises StoreUnavailable."""
        run = self._run(await self._acquire(), query, args, writes=False)
        return await (self._to_its_end(run) if self._pooled else run)

    async def write(self, query: str, *args: Any) -> Sequence[Row]:
        """Run a statement that must be known to have happened or not.

        Whoever is cancelled before it is sent has done nothing; afterwards it runs to its end, and its connection is
        given back, with or without its caller. Raises StoreUnavailable, CommitUnknown, or what the statement raised.
        """
        return await self._to_its_end(self._run(await self._acquire(), query, args, writes=True))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PoolConnectionProxy]:
        """Several statements, all or nothing, rolled back if the block raises or is cancelled. For cold paths."""
        connection = await self._acquire(begins=False)
        try:
            async with connection.transaction():
                if self._pooled:
                    await connection.execute(POOLED_SETTINGS)
                yield connection
        except DRIVER_ERRORS as error:
            raise translated(error, writes=True) from error
        finally:
            await self._give_back(connection, sound=False)

    def checked_out(self) -> int:
        """Connections that somebody holds."""
        return self._pool.get_size() - self._pool.get_idle_size() - sum(map(_alive, self._kept))

    def connected(self) -> int:
        """Connections that are open, as far as this process knows."""
        return self._pool.get_size()

    async def close(self) -> None:
        """What was sent is waited for; what is held after that is cut off."""
        self._closing = True
        if self._unfinished:
            await asyncio.wait(set(self._unfinished))
        await self._let_go()
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_TIMEOUT_S)
        except TimeoutError:
            self._pool.terminate()

    async def _to_its_end(self, run: Coroutine[Any, Any, Sequence[Row]]) -> Sequence[Row]:
        """With or without its caller."""
        task = asyncio.create_task(run)
        self._unfinished.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _run(
        self, connection: PoolConnectionProxy, query: str, args: tuple[Any, ...], *, writes: bool
    ) -> Sequence[Row]:
        """To the end, and the connection is given back."""
        sound = False
        try:
            rows = await (_in_transaction(connection, query, args) if self._pooled else connection.fetch(query, *args))
            sound = True
            return rows
        except DRIVER_ERRORS as error:
            raise translated(error, writes=writes) from error
        finally:
            await self._give_back(connection, sound=sound)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._unfinished.discard(task)
        if not task.cancelled():
            task.exception()  # somebody may have given up waiting for it

    async def _acquire(self, *, begins: bool = True) -> PoolConnectionProxy:
        """Nothing of the statement was sent yet, so trying again is safe."""
        loop = asyncio.get_running_loop()
        deadline, pause_s = loop.time() + PATIENCE_S, 0.05
        while True:
            try:
                connection = await self._take()
                if begins and self._pooled:
                    await self._begin(connection)
                return connection
            except DRIVER_ERRORS as error:
                if not may_pass(error) or loop.time() + pause_s > deadline:
                    raise unreachable(error) from error
            await asyncio.sleep(pause_s)
            pause_s = min(0.5, pause_s * 2)

    async def _begin(self, connection: PoolConnectionProxy) -> None:
        try:
            await connection.execute(POOLED_BEGIN)
        except BaseException:
            connection.terminate()  # whether it began is not known
            await self._give_back(connection, sound=False)
            raise

    async def _take(self) -> PoolConnectionProxy:
        if self._places.locked():
            async with asyncio.timeout(QUEUE_TIMEOUT_S):
                await self._places.acquire()
        else:
            await self._places.acquire()
        try:
            while self._kept:
                connection = self._kept.pop()
                if _alive(connection):
                    return connection
                await self._release(connection)
            return await self._pool.acquire(timeout=QUEUE_TIMEOUT_S)
        except BaseException:
            self._places.release()
            raise

    async def _give_back(self, connection: PoolConnectionProxy, *, sound: bool) -> None:
        """`sound`: its statement has returned, so nothing of it is left.

        The place goes with the connection, not with the caller, who may be cancelled again while the driver brings it
        to rest: whoever got the place before would wait for this one, however many others come back meanwhile.
        """
        if not sound or self._closing or not _alive(connection):
            released = asyncio.ensure_future(self._release(connection))
            released.add_done_callback(lambda _: self._places.release())
            await asyncio.shield(released)
            return
        try:
            self._kept.append(connection)
            if asyncio.get_running_loop().time() > self._kept_until_s:
                await self._let_go()
        finally:
            self._places.release()

    async def _let_go(self) -> None:
        self._kept_until_s = asyncio.get_running_loop().time() + KEPT_S
        while self._kept:
            await self._release(self._kept.pop())

    async def _release(self, connection: PoolConnectionProxy) -> None:
        """What the statement returned or raised is what counts, whatever becomes of its connection.

        After a statement that was given up, the driver waits for the server to notice; if that takes too long, it
        throws the connection away and raises, and the next caller gets another one. InternalClientError is what it
        raises for one that ends in the step in between.
        """
        try:
            await self._pool.release(connection)
        except (*DRIVER_ERRORS, asyncpg.InternalClientError) as error:
            log.warning("a connection was thrown away: %s", type(error).__name__)


async def _in_transaction(connection: PoolConnectionProxy, query: str, args: tuple[Any, ...]) -> Sequence[Row]:
    """Within the transaction that was begun; afterwards there is none, whatever was raised."""
    try:
        rows: Sequence[Row] = await connection.fetch(query, *args)
    except DRIVER_ERRORS:
        with suppress(*DRIVER_ERRORS):
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
    return rows


def _alive(connection: PoolConnectionProxy) -> bool:
    """Whether it is open, as far as this process knows; the driver takes one away that ended."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False


async def open_pool(url: str, *, size: int, statements: Sequence[str] = ()) -> Pool:
    """Open connections that know `statements` already, or the way through a transaction pooler where one is between.

    Raises InvalidValue or StoreUnavailable, in one line.
    """
    try:
        try:
            return Pool(await _opened(url, size, statements, pooled=False))
        except asyncpg.PostgresError as error:
            if not pooler.is_between(error):
                raise
        log.info("a transaction pooler is between us and the database: each statement brings its settings along")
        return Pool(await _opened(url, size, statements, pooled=True), pooled=True)
    except asyncpg.PostgresError as error:
        raise _opening(error) from error
    except (*DRIVER_ERRORS, ValueError) as error:
        raise _not_connected(error, url) from None


async def _opened(url: str, size: int, statements: Sequence[str], *, pooled: bool) -> asyncpg.Pool:
    async def learn(connection: asyncpg.Connection) -> None:
        # JSON stays the bytes that msgspec made, or will read.
        await connection.set_type_codec(
            "jsonb",
            schema="pg_catalog",
            encoder=lambda data: JSONB_VERSION + data,
            decoder=lambda data: bytes(data[1:]),
            format="binary",
        )
        for statement in statements:
            await connection.prepare(statement)  # now the driver knows the types, and we that the functions are there

    async def init(connection: asyncpg.Connection) -> None:
        if pooled:
            # The driver ends what it prepared with its first use only; till then it would hold the server's connection.
            async with connection.transaction():
                await learn(connection)
        else:
            await connection.execute(pooler.look(connection.get_server_pid()))
            await learn(connection)

    return await asyncpg.create_pool(
        url,
        min_size=min(size, 4),
        max_size=size,
        connection_class=Connection,
        init=init,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        max_inactive_connection_lifetime=IDLE_S,
        max_cached_statement_lifetime=0,
        statement_cache_size=0 if pooled else PREPARED,
        server_settings=NAMED if pooled else SERVER_SETTINGS,
    )


def _opening(error: asyncpg.PostgresError) -> Exception:
    """The server answered: it refused the connection, or does not know our functions."""
    return unreachable(error) if error.sqlstate[:2] in ("28", "3D", "57", "53") else translated(error, writes=False)
