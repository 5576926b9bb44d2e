"""The ways that `hot_path` compares. Every one leaves the same rows behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import asyncpg
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text, delete, insert, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

metadata = MetaData()


def _table(name: str, keys: dict[str, Any], **values: Any) -> Table:
    columns = [Column(key, type_, primary_key=True, autoincrement=False) for key, type_ in keys.items()]
    return Table(name, metadata, *columns, *(Column(key, type_) for key, type_ in values.items()))


inbox = _table("hot_inbox", {"thread_id": Text}, next_seq=BigInteger)
sessions = _table(
    "hot_sessions", {"thread_id": Text}, owner=BigInteger, epoch=BigInteger, applied_seq=BigInteger, run=BigInteger
)
events = _table("hot_events", {"thread_id": Text, "seq": BigInteger}, request_id=Text, payload=JSONB)
effects = _table("hot_effects", {"thread_id": Text, "seq": BigInteger}, payload=JSONB)
checkpoints = _table("hot_checkpoints", {"thread_id": Text, "checkpoint_id": Text}, state=JSONB, blob=LargeBinary)

OWNER: Final = 7
PAYLOAD: Final = '{"type": "user_message", "content": "Recite, please."}'
ANSWER: Final = '{"type": "send_message", "text": "' + "word " * 64 + '"}'
STATE: Final = '{"v": 4, "channel_versions": {"messages": "2"}, "versions_seen": {"answer": {"messages": "2"}}}'
BLOB: Final = b"x" * 1200

SCHEMA: Final = """
CREATE TABLE hot_inbox (thread_id text PRIMARY KEY, next_seq bigint);
CREATE TABLE hot_sessions (
    thread_id text PRIMARY KEY, owner bigint, epoch bigint, applied_seq bigint, run bigint);
CREATE TABLE hot_events (
    thread_id text, seq bigint, request_id text, payload jsonb,
    PRIMARY KEY (thread_id, seq), UNIQUE (thread_id, request_id));
CREATE TABLE hot_effects (thread_id text, seq bigint, payload jsonb, PRIMARY KEY (thread_id, seq));
CREATE TABLE hot_checkpoints (
    thread_id text, checkpoint_id text, state jsonb, blob bytea, PRIMARY KEY (thread_id, checkpoint_id));

CREATE FUNCTION hot_accept(_thread text, _owner bigint, _request text, _payload jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE _seq bigint;
BEGIN
    INSERT INTO hot_inbox VALUES (_thread, 2)
        ON CONFLICT (thread_id) DO UPDATE SET next_seq = hot_inbox.next_seq + 1 RETURNING next_seq - 1 INTO _seq;
    INSERT INTO hot_events VALUES (_thread, _seq, _request, _payload);
    INSERT INTO hot_sessions VALUES (_thread, _owner, 1, 0, 1)
        ON CONFLICT (thread_id) DO UPDATE SET run = hot_sessions.run + 1;
    RETURN _seq;
END $$;

CREATE FUNCTION hot_finish(_thread text, _owner bigint, _seq bigint, _answer jsonb, _state jsonb, _blob bytea)
RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    UPDATE hot_sessions SET applied_seq = _seq
        WHERE thread_id = _thread AND owner = _owner AND epoch = 1 AND applied_seq = _seq - 1;
    IF NOT FOUND THEN RAISE EXCEPTION 'fenced'; END IF;
    INSERT INTO hot_checkpoints VALUES (_thread, _seq::text, _state, _blob);
    DELETE FROM hot_checkpoints WHERE thread_id = _thread AND checkpoint_id = (_seq - 1)::text;
    INSERT INTO hot_effects VALUES (_thread, _seq, _answer);
    RETURN _seq;
END $$;
"""

CALL_ACCEPT: Final = "SELECT hot_accept($1, $2, $3, $4)"
CALL_FINISH: Final = "SELECT hot_finish($1, $2, $3, $4, $5, $6)"


class Calls(ABC):
    """An accept and a finish, each in a transaction of its own."""

    @abstractmethod
    async def accept(self, thread: str, request: str) -> None: ...

    @abstractmethod
    async def finish(self, thread: str, seq: int) -> None: ...


class AsyncpgFunction(Calls):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def accept(self, thread: str, request: str) -> None:
        async with self._pool.acquire() as connection:
            await connection.fetchval(CALL_ACCEPT, thread, OWNER, request, PAYLOAD)

    async def finish(self, thread: str, seq: int) -> None:
        async with self._pool.acquire() as connection:
            await connection.fetchval(CALL_FINISH, thread, OWNER, seq, ANSWER, STATE, BLOB)


class AsyncpgStatements(AsyncpgFunction):
    async def accept(self, thread: str, request: str) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            seq = await connection.fetchval(
                "INSERT INTO hot_inbox VALUES ($1, 2) ON CONFLICT (thread_id) "
                "DO UPDATE SET next_seq = hot_inbox.next_seq + 1 RETURNING next_seq - 1",
                thread,
            )
            await connection.execute("INSERT INTO hot_events VALUES ($1, $2, $3, $4)", thread, seq, request, PAYLOAD)
            await connection.execute(
                "INSERT INTO hot_sessions VALUES ($1, $2, 1, 0, 1) ON CONFLICT (thread_id) "
                "DO UPDATE SET run = hot_sessions.run + 1",
                thread,
                OWNER,
            )

    async def finish(self, thread: str, seq: int) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            fenced = await connection.fetchval(
                "UPDATE hot_sessions SET applied_seq = $3 WHERE thread_id = $1 AND owner = $2 AND epoch = 1 "
                "AND applied_seq = $3 - 1 RETURNING epoch",
                thread,
                OWNER,
                seq,
            )
            assert fenced == 1
            await connection.execute(
                "INSERT INTO hot_checkpoints VALUES ($1, $2, $3, $4)", thread, str(seq), STATE, BLOB
            )
            await connection.execute(
                "DELETE FROM hot_checkpoints WHERE thread_id = $1 AND checkpoint_id = $2", thread, str(seq - 1)
            )
            await connection.execute("INSERT INTO hot_effects VALUES ($1, $2, $3)", thread, seq, ANSWER)


class CoreFunction(Calls):
    ACCEPT = text("SELECT hot_accept(:thread, :owner, :request, CAST(:payload AS jsonb))")
    FINISH = text(
        "SELECT hot_finish(:thread, :owner, :seq, CAST(:answer AS jsonb), CAST(:state AS jsonb), CAST(:blob AS bytea))"
    )

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def accept(self, thread: str, request: str) -> None:
        async with self._engine.begin() as connection:
            values = {"thread": thread, "owner": OWNER, "request": request, "payload": PAYLOAD}
            await connection.execute(self.ACCEPT, values)

    async def finish(self, thread: str, seq: int) -> None:
        async with self._engine.begin() as connection:
            values = {"thread": thread, "owner": OWNER, "seq": seq, "answer": ANSWER, "state": STATE, "blob": BLOB}
            await connection.execute(self.FINISH, values)


class CoreStatements(CoreFunction):
    async def accept(self, thread: str, request: str) -> None:
        counting = upsert(inbox).values(thread_id=thread, next_seq=2)
        counted = counting.on_conflict_do_update(index_elements=["thread_id"], set_={"next_seq": inbox.c.next_seq + 1})
        owning = upsert(sessions).values(thread_id=thread, owner=OWNER, epoch=1, applied_seq=0, run=1)
        owned = owning.on_conflict_do_update(index_elements=["thread_id"], set_={"run": sessions.c.run + 1})
        async with self._engine.begin() as connection:
            seq = (await connection.execute(counted.returning(inbox.c.next_seq - 1))).scalar_one()
            # The values are JSON text already: the engine's serializer lets text pass.
            await connection.execute(
                insert(events).values(thread_id=thread, seq=seq, request_id=request, payload=PAYLOAD)
            )
            await connection.execute(owned)

    async def finish(self, thread: str, seq: int) -> None:
        fence = update(sessions).values(applied_seq=seq).returning(sessions.c.epoch)
        mine = (sessions.c.thread_id == thread, sessions.c.owner == OWNER, sessions.c.epoch == 1)
        stale = (checkpoints.c.thread_id == thread, checkpoints.c.checkpoint_id == str(seq - 1))
        async with self._engine.begin() as connection:
            (await connection.execute(fence.where(*mine, sessions.c.applied_seq == seq - 1))).scalar_one()
            await connection.execute(
                insert(checkpoints).values(thread_id=thread, checkpoint_id=str(seq), state=STATE, blob=BLOB)
            )
            await connection.execute(delete(checkpoints).where(*stale))
            await connection.execute(insert(effects).values(thread_id=thread, seq=seq, payload=ANSWER))


class Unreset(asyncpg.Connection):
    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


def over_asyncpg(
    calls: Callable[[asyncpg.Pool], Calls], connection_class: type[asyncpg.Connection]
) -> Callable[[str], AbstractAsyncContextManager[Calls]]:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Calls]:
        async with asyncpg.create_pool(url, min_size=2, max_size=2, connection_class=connection_class) as pool:
            yield calls(pool)

    return opened


def over_sqlalchemy(calls: Callable[[AsyncEngine], Calls]) -> Callable[[str], AbstractAsyncContextManager[Calls]]:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Calls]:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: asyncpg.connect(url),
            pool_size=2,
            json_serializer=lambda value: value,
        )
        try:
            yield calls(engine)
        finally:
            await engine.dispose()

    return opened


WAYS: Final[dict[str, Callable[[str], AbstractAsyncContextManager[Calls]]]] = {
    "asyncpg, one function, no reset": over_asyncpg(AsyncpgFunction, Unreset),
    "asyncpg, one function": over_asyncpg(AsyncpgFunction, asyncpg.Connection),
    "asyncpg, statements, no reset": over_asyncpg(AsyncpgStatements, Unreset),
    "asyncpg, statements": over_asyncpg(AsyncpgStatements, asyncpg.Connection),
    "SQLAlchemy Core, one function": over_sqlalchemy(CoreFunction),
    "SQLAlchemy Core, statements": over_sqlalchemy(CoreStatements),
}
