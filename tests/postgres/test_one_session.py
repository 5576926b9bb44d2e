"""One statement, one session: so the tables can be sharded by `thread_id` as they are.

No statement of a turn touches a row of a second session, however it is planned, and every key that must be unique
begins with the session's. Sessions that have the same numbers and request ids run side by side, so that whatever
forgets to ask whose a row is meets another one's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import pytest

from tests.contracts.conversation import Conversation, replica_of, said, state_at
from tests.contracts.subjects import PostgresSubject
from tests.end_to_end.server import AGENTS, GRAPHS
from tests.postgres.one_session import ROLE, TOUCHED_ANOTHER, WatchedPool, open_watched, watched_url
from tests.postgres.watching import becomes_true
from unbroken.adapters.postgres import (
    checkpoints,
    controls,
    event_store,
    files,
    group_commit,
    outbox,
    sessions,
    timers,
)
from unbroken.adapters.postgres.store import PostgresStore
from unbroken.adapters.postgres.unit_of_work import COMMIT_AND_PRUNE
from unbroken.domain.effects import RequestInput
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.events import InputResponse, NewEvent, UserMessage
from unbroken.domain.policy import CommitMode
from unbroken.domain.pruning import PRUNE_EVERY
from unbroken.domain.session import SessionKey
from unbroken.entrypoints import server
from unbroken.entrypoints import service as services
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.settings import Settings

pytestmark = pytest.mark.asyncio

TWINS = ("a-before", "m-between", "z-behind")
"""Threads that say the same under the same request ids. Whoever reads in any order meets another one first."""
NOBODY = 0
"""A replica that is not alive: what it accepts is for others."""

OF_A_TURN: Final = {
    event_store.ACCEPT: "accept",
    sessions.CLAIM: "claim",
    sessions.VIEW: "view",
    sessions.BEFORE: "where a replaced message began",
    group_commit.COMMIT: "superstep and end",
    COMMIT_AND_PRUNE: "end, and prune",
    checkpoints.LOAD: "state that is not in memory",
    checkpoints.LOAD_HEAD: "state of a thread that another saver may have written",
    controls.CANCEL: "cancel",
    outbox.READ: "log",
    outbox.RELEASE: "end of an effect",
    timers.SCHEDULE: "effect: set a timer",
    files.ADD: "attach a file",
    files.MISSING: "accept of a message with files",
}
"""Statements of which each turn is made, or that stand in its place: what must have been seen."""

NOT_BY_SESSION: Final = {
    "replicas": "who is alive: a row a process; a copy on every shard",
    "erased_threads": "digests of ids that nobody may have again: a copy on every shard",
    "assistants": "by their user: no turn writes them",
    "assistant_versions": "by their user: no turn writes them",
    "store": "the agents' long-term memory, shared by all threads: no turn's statement writes it",
    "store_embeddings": "as store",
    "store_migrations": "the official store's versions: a copy on every shard",
    "checkpoint_migrations": "the official saver's versions: a copy on every shard",
    "unbroken_migrations": "Alembic's",
}

KEYS: Final = """
SELECT t.relname AS of, i.relname AS name, first.attname AS first
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
LEFT JOIN pg_attribute first ON first.attrelid = t.oid AND first.attnum = x.indkey[0] AND x.indkey[0] > 0
WHERE t.relnamespace = 'public'::regnamespace AND (x.indisunique OR x.indisexclusion)
UNION ALL
SELECT t.relname, c.conname, first.attname
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
JOIN pg_attribute first ON first.attrelid = t.oid AND first.attnum = c.conkey[1]
WHERE t.relnamespace = 'public'::regnamespace AND c.contype = 'f'
"""
"""Primary keys, unique keys, exclusions and foreign keys with their first column; null: an expression."""

TABLES: Final = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"


async def misplaced_keys(sql: asyncpg.Connection) -> list[str]:
    """Keys of tables of a turn that do not begin with the thread."""
    return [
        f"{row['of']}.{row['name']}"
        for row in await sql.fetch(KEYS)
        if row["first"] != "thread_id" and row["of"] not in NOT_BY_SESSION
    ]


async def test_every_unique_key_begins_with_the_session(url: str, sql: asyncpg.Connection) -> None:
    assert await misplaced_keys(sql) == []
    tables = {row["relname"] for row in await sql.fetch(TABLES)}
    with_keys = {row["of"] for row in await sql.fetch(KEYS)}
    assert tables - with_keys == set(), "a table without a key cannot be sharded by it"
    assert set(NOT_BY_SESSION) <= tables


async def test_a_key_in_another_order_is_noticed(url: str, sql: asyncpg.Connection) -> None:
    changing = sql.transaction()
    await changing.start()  # never committed: others use this database after us
    try:
        await sql.execute("CREATE UNIQUE INDEX by_request ON events (request_id, thread_id)")
        await sql.execute("CREATE UNIQUE INDEX by_words ON timers (lower(thread_id))")
        await sql.execute(
            "ALTER TABLE files ADD FOREIGN KEY (file_id, thread_id) REFERENCES events (request_id, thread_id)"
        )
        found = await misplaced_keys(sql)
    finally:
        await changing.rollback()
    assert sorted(found) == ["events.by_request", "files.files_file_id_thread_id_fkey", "timers.by_words"]


class Talk:
    """One thread at the running service."""

    def __init__(self, service: Service, store: PostgresStore, agent: str, thread: str) -> None:
        self.key = SessionKey("ann", agent, thread)
        self._service = service
        self._store = store
        self._said = 0

    def request(self, number: int) -> str:
        return f"request-{number}"

    async def say(self, content: str | list[dict[str, Any]], *, replaces: int | None = None) -> None:
        """And wait for its end."""
        await self.begin(content, replaces=replaces)
        await self.ended()

    async def begin(self, content: str | list[dict[str, Any]], *, replaces: int | None = None) -> None:
        body = UserMessage(content, replaces=None if replaces is None else self.request(replaces))
        await self._service.accept(self.key, self._next(), body)

    async def left_behind(self, content: str) -> None:
        """Accepted by a replica that cannot run it."""
        new = NewEvent(f"event-{self._said}-{self.key.thread_id}", self._next(), UserMessage(content))
        receipt = await self._store.event_store.accept(self.key, new, replica=NOBODY, queue_limit=100)
        assert receipt.claim is None

    async def answer_questions(self) -> None:
        log = await self._store.outbox.read(self.key.thread_id, after=0, limit=100)
        for entry in log:
            if isinstance(entry.body, RequestInput):
                await self._service.accept(self.key, self._next(), InputResponse(entry.body.interrupt_id, "yes"))
                await self.ended()

    async def cancel_latest(self) -> None:
        await self._service.cancel(self.key, self.request(self._said))

    async def ended(self) -> None:
        async def idle() -> bool:
            view = await self._store.sessions.view(self.key.thread_id)
            return view is not None and not view.pending

        await becomes_true(idle, within_s=60)

    def _next(self) -> str:
        self._said += 1
        return self.request(self._said)


async def everything(service: Service, store: PostgresStore, twin: str) -> None:
    """Turns of every kind, one after another, in a thread an agent."""

    def talk(agent: str) -> Talk:
        return Talk(service, store, agent, f"{agent}-{twin}")

    plain = talk("one")
    for number in range(PRUNE_EVERY + 1):
        await plain.say(f"message {number} words=3")
    await plain.say("another way words=3", replaces=2)
    await plain.left_behind("words=3")
    await plain.ended()
    stepping = talk("three")
    await stepping.say("words=3")
    await stepping.say("words=3 late=1")
    await stepping.begin("words=400 pause=0.02")
    await stepping.begin("words=3")
    await stepping.cancel_latest()
    await service.cancel(stepping.key, stepping.request(3))
    await stepping.ended()
    asking = talk("endings")
    await asking.say("words=3 ask=2")
    await asking.answer_questions()
    for agent, words in (("tool", "weigh 7 words=3"), ("nested", "words=3"), ("turn", "words=3"), ("delta", "words=3")):
        spoken = talk(agent)
        await spoken.say(words)
        await spoken.say(words)
    reminding = talk("reminding")
    await reminding.say("words=3 remind=0.1")

    async def reminded() -> bool:
        view = await store.sessions.view(reminding.key.thread_id)
        return view is not None and view.applied_seq == 2

    await becomes_true(reminded, within_s=60)
    with_file = talk("one")
    with_file.key = SessionKey("ann", "one", f"file-{twin}")
    await with_file.say("words=3")
    await store.files.add(
        "ann", with_file.key.thread_id, file_id="f", name="n", mime_type="text/plain", data=b"x", limit=9
    )
    await with_file.say([{"type": "file", "id": "f", "file_id": "f"}, {"type": "text", "text": "words=3"}])
    await store.outbox.read(plain.key.thread_id, after=0, limit=100)
    await service.threads.delete("ann", with_file.key.thread_id)


@asynccontextmanager
async def watched_service(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Service, PostgresStore, WatchedPool]]:
    """The product as it composes itself, over a watched database."""
    async with open_watched(url) as (store, pool):

        @asynccontextmanager
        async def opened(*_: Any, **__: Any) -> AsyncIterator[PostgresStore]:
            yield store

        monkeypatch.setattr(services, "open_postgres", opened)
        settings = Settings(
            agents=tuple(f"{name}={GRAPHS / where}" for name, where in AGENTS.items()),
            agent_commit={"turn": CommitMode.TURN},
            retry_backoff_s=0.05,
            recovery_poll_s=0.1,
            effect_poll_s=0.1,
            timer_poll_s=0.1,
            ack_flush_s=0.1,
            head_cache_bytes=0,
            replica_name="watched",
        )
        graphs = server.agent_graphs(settings)
        # The heartbeat's own connection is not watched: it is the owner's.
        async with services.running(settings, url, graphs, on_lost=lambda: None) as service:
            yield service, store, pool


@pytest.mark.slow
async def test_no_statement_of_a_turn_touches_a_second_session(
    new_database: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watched_service(new_database(18), monkeypatch) as (service, store, pool):
        running = [asyncio.create_task(everything(service, store, twin)) for twin in TWINS]
        while not all(task.done() for task in running) and not pool.touched:
            await asyncio.wait(running, timeout=0.1, return_when=asyncio.FIRST_EXCEPTION)
            if any(task.done() and task.exception() for task in running):
                break
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert pool.touched == []
        for task in running:
            task.result()
    unseen = {name for statement, name in OF_A_TURN.items() if statement not in pool.seen}
    assert unseen == set(), "nothing was said of these"


async def test_commits_that_share_a_transaction_touch_nothing_but_by_their_own_calls(sql: asyncpg.Connection) -> None:
    """Alone, each such call was seen to touch one session; together they are calls, and nothing else."""
    for count in range(2, group_commit.MOST + 1):
        (row,) = await sql.fetch(
            f"EXPLAIN (VERBOSE, FORMAT JSON) {group_commit.commits(count)}", *[None] * count * group_commit.ARGUMENTS
        )
        nodes = list(_nodes(json.loads(row["QUERY PLAN"])[0]["Plan"]))
        assert [node["Relation Name"] for node in nodes if "Relation Name" in node] == []
        assert [node["Function Name"] for node in nodes if "Function Name" in node] == ["unbroken_commit_v2"] * count


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for inner in plan.get("Plans", ()) for node in _nodes(inner))]


FORGETFUL: Final = {
    "a statement of its own": ("SELECT e.seq FROM events e WHERE e.request_id = $2 AND $1 <> ''", None),
    "the end looks for what comes next": (
        None,
        ("unbroken_commit_v2", "e.thread_id = p_thread AND e.seq = p_seq + 1) AS waits", "e.seq = p_seq + 1) AS waits"),
    ),
    "a claim looks for its event": (
        None,
        ("unbroken_claim_v3", "e.thread_id = s.thread_id AND e.seq = s.applied_seq + 1", "e.seq = s.applied_seq + 1"),
    ),
    "an accept cancels timers": (None, ("unbroken_accept_v3", "t.thread_id = p_thread AND t.status", "t.status")),
}
"""A statement, or an edit of a function: each forgets to ask whose a row is."""


@pytest.mark.parametrize("forgetful", FORGETFUL)
async def test_what_forgets_to_ask_whose_a_row_is_is_noticed(
    new_database: Callable[[int], str], forgetful: str
) -> None:
    url = new_database(18)
    statement, edit = FORGETFUL[forgetful]
    sql = await asyncpg.connect(url)
    try:
        await sql.execute(
            "INSERT INTO timers (thread_id, timer_id, generation, created_by, status, fire_at, payload, created_at)"
            " VALUES ('z', 't', 1, 'c', 'pending', 'infinity', '{}', now())"
        )
        if edit is not None:
            name, whole, part = edit
            source = await sql.fetchval("SELECT pg_get_functiondef($1::regproc)", name)
            assert whole in source
            await sql.execute(source.replace(whole, part))
    finally:
        await sql.close()
    async with open_watched(url) as (store, pool):
        with pytest.raises(StoreUnavailable):
            await _two_sessions(store, pool, statement)
    assert pool.touched
    assert "was touched for" in pool.touched[0]


async def _two_sessions(store: PostgresStore, pool: WatchedPool, statement: str | None) -> None:
    """Both have an event that runs and one that waits."""
    subject = PostgresSubject(store, "")
    replica = await replica_of(subject)
    talks = [Conversation(subject, replica, SessionKey("ann", "demo", thread)) for thread in ("a", "z")]
    claims = []
    for talk in talks:
        claims.append(await talk.accepted(talk.new(request_id="r")))
        await talk.accept(talk.new(request_id="s"))
    if statement is not None:
        await pool.read(statement, "a", "r")
    for talk, claim in zip(talks, claims, strict=True):
        await talk.superstep(claim, state_at(1))
        assert await talk.claim() is not None
    for talk in talks:
        again = await talk.claim()
        assert again is not None
        await talk.finish(again, said("yes"), state=state_at(2, parent=1))


async def test_the_watch_binds_reads_changes_and_additions(new_database: Callable[[int], str]) -> None:
    connection = await asyncpg.connect(await watched_url(new_database(18)))
    try:
        assert await connection.fetchval("SELECT current_user") == ROLE
        await connection.execute("SET watch.thread = 'a'")
        await connection.execute("INSERT INTO inbox (thread_id, next_seq) VALUES ('a', 1)")
        for statement in (
            "INSERT INTO inbox (thread_id, next_seq) VALUES ('b', 1)",
            "UPDATE inbox SET thread_id = 'b'",
        ):
            with pytest.raises(asyncpg.PostgresError, match="touched") as raised:
                await connection.execute(statement)
            assert raised.value.sqlstate == TOUCHED_ANOTHER
        await connection.execute("SET watch.thread = 'b'")
        for statement in (
            "SELECT FROM inbox",
            "SELECT FROM inbox WHERE next_seq = 7",
            "UPDATE inbox SET next_seq = 2",
            "DELETE FROM inbox",
        ):
            with pytest.raises(asyncpg.PostgresError, match="touched"):
                await connection.execute(statement)
    finally:
        await connection.close()
