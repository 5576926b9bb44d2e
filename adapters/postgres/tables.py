"""The schema. Migrations create it; `alembic check` holds them to this file.

Every key begins with `thread_id`: one turn touches one thread, so the tables can be sharded as they are. There
are no foreign keys: each would take a lock in `sessions` or `inbox` that the order of locks does not know of.

    locks are taken in this order:  inbox → sessions → heads and checkpoint rows → timers → effects

Words that are not obvious are explained beside their column; who writes what is written in the stored functions
(`migrations/versions/*.sql`), which are the only writers on the hot path.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

_HOT: Final = {"fillfactor": 70}
"""Rows that every turn updates keep room on their page, so that a new version needs no new index entries."""


def _number(name: str, **options: object) -> Column[int]:
    return Column(name, BigInteger, nullable=False, **options)  # type: ignore[arg-type]


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _moment(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _json(name: str) -> Column[object]:
    return Column(name, JSONB, nullable=False)


inbox = Table(
    "inbox",
    metadata,
    Column("thread_id", Text, primary_key=True),
    _number("next_seq"),
    Column("waiting", Boolean, nullable=False, server_default=text("false"), comment="an accept could not claim"),
    Index("inbox_waiting", "thread_id", postgresql_where=text("waiting")),
    comment="the counter that accepts use: a row of its own, so that it never waits behind a turn's commit",
    postgresql_with=_HOT,
)

sessions = Table(
    "sessions",
    metadata,
    Column("thread_id", Text, primary_key=True),
    _text("user_id"),
    _text("agent_id"),
    Column("owner", BigInteger, comment="replicas.id: one boot of one replica"),
    _number("epoch", comment="fencing token: grows whenever the owner changes"),
    _number("applied_seq", comment="the last event that reached its end"),
    _number("run", comment="attempts counted on this thread, ever"),
    Column("tries", Integer, nullable=False, comment="attempts counted at applied_seq + 1; 0: nothing runs"),
    _number("head_event", comment="the event whose run wrote the root head"),
    _number("log_index", comment="the log's end"),
    Column(
        "open_questions",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="interrupt ids that wait for an answer",
    ),
    _number("log_floor", server_default=text("0"), comment="log entries up to here were removed"),
    _moment("created_at"),
    Column("deleted_at", DateTime(timezone=True), comment="the tombstone"),
    Column("title", Text, comment="chosen by the user; null: made of the first message"),
    Column("attempts", JSONB, comment="when and why each try at applied_seq + 1 began"),
    Index("sessions_running", "thread_id", postgresql_where=text("tries > 0")),
    Index("sessions_user", "user_id"),
    postgresql_with=_HOT,
)

events = Table(
    "events",
    metadata,
    _text("thread_id"),
    _number("seq"),
    _text("id"),
    _text("request_id"),
    _text("type"),
    _json("payload"),
    Column("body_hash", LargeBinary, nullable=False),
    _json("trace_context"),
    _moment("created_at"),
    Column("received_at", DateTime(timezone=True), comment="null: not known"),
    PrimaryKeyConstraint("thread_id", "seq"),
    UniqueConstraint("thread_id", "request_id", name="events_request_id_key"),
    comment="the queue and the audit trail: never updated",
)

effects = Table(
    "effects",
    metadata,
    _text("thread_id"),
    _number("event_seq"),
    Column("ordinal", Integer, nullable=False),
    _text("id"),
    Column("log_index", BigInteger, comment="set for what clients see"),
    Column("checkpoint_id", Text),
    Column("base_id", Text, nullable=False, comment="root head before the event; empty: nowhere"),
    _text("type"),
    _json("payload"),
    _text("dedupe_key"),
    Column("status", Text, comment="null: it has a log_index, and its status follows from deliveries"),
    Column("attempt_count", Integer, nullable=False, server_default=text("0")),
    _moment("last_attempt_at", nullable=True),
    _moment("next_attempt_at", nullable=True),
    Column("claimed_by", BigInteger),
    _number("claim_no", server_default=text("0"), comment="fences late finishers"),
    _moment("claimed_until", nullable=True),
    _json("trace_context"),
    _moment("created_at"),
    _moment("updated_at"),
    Column("attempts", JSONB, comment="of the event, at its first effect; null: not known"),
    Column("cancelled_at", DateTime(timezone=True), comment="when the event's cancel was accepted"),
    Column("last_error", Text, comment="why its last attempt failed"),
    PrimaryKeyConstraint("thread_id", "event_seq", "ordinal"),
    UniqueConstraint("thread_id", "dedupe_key", name="effects_dedupe_key_key"),
    UniqueConstraint("thread_id", "log_index", name="effects_log_index_key"),
    CheckConstraint("(log_index IS NULL) = (status IS NOT NULL)", name="effects_status_or_log"),
    CheckConstraint("status IN ('pending', 'executing', 'completed', 'failed')", name="effects_status_word"),
    Index(
        "effects_unfinished",
        "thread_id",
        "event_seq",
        "ordinal",
        postgresql_where=text("status IN ('pending', 'executing')"),
    ),
    Index("effects_failed", "thread_id", postgresql_where=text("status = 'failed'")),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("thread_id", Text, primary_key=True),
    _number("sent", comment="highest log_index ever written to a socket"),
    _number("acked", comment="highest log_index any client has acknowledged"),
    comment="marks of delivery: apart from sessions, so that acknowledging never waits for a turn",
    postgresql_with=_HOT,
)

delivery_marks = Table(
    "delivery_marks",
    metadata,
    _text("thread_id"),
    _text("mark"),
    _number("upto"),
    _number("above", comment="where the mark stood before"),
    _moment("at"),
    PrimaryKeyConstraint("thread_id", "mark", "upto"),
    CheckConstraint("mark IN ('sent', 'acked')", name="delivery_marks_mark_word"),
    comment="each time a mark of deliveries was raised: never updated",
)

controls = Table(
    "controls",
    metadata,
    _text("thread_id"),
    _number("seq", comment="of the event to end"),
    _text("kind"),
    _moment("created_at"),
    PrimaryKeyConstraint("thread_id", "seq"),
    CheckConstraint("kind IN ('cancel', 'rollback')", name="controls_kind_word"),
    comment="cancels of unfinished events; they go with the event's end",
)

timers = Table(
    "timers",
    metadata,
    _text("thread_id"),
    _text("timer_id"),
    _number("generation"),
    _text("created_by"),
    _text("status"),
    _moment("fire_at"),
    _json("payload"),
    _moment("created_at"),
    PrimaryKeyConstraint("thread_id", "timer_id", "generation"),
    UniqueConstraint("thread_id", "timer_id", "created_by", name="timers_created_by_key"),
    CheckConstraint("status IN ('pending', 'cancelled', 'fired')", name="timers_status_word"),
    Index("timers_due", "fire_at", postgresql_where=text("status = 'pending'")),
    Index("timers_pending", "thread_id", postgresql_where=text("status = 'pending'")),
    comment="one row for each time a timer was set; at most one of a timer's rows is pending",
)

replica_ids = Sequence("replica_ids", metadata=metadata)

replicas = Table(
    "replicas",
    metadata,
    Column("name", Text, primary_key=True),
    _number("boot"),
    Column("id", BigInteger, comment="names this boot; null: it has left"),
    _moment("expires_at"),
    UniqueConstraint("id", name="replicas_id_key"),
    comment="who is alive, by this database's clock; one row a name, so a new boot voids the former at once",
)

heads = Table(
    "heads",
    metadata,
    _text("thread_id"),
    _text("checkpoint_ns"),
    Column("checkpoint_id", Text, nullable=False, comment="empty: known to be nowhere; no row: never set"),
    Column("base_id", Text, nullable=False, comment="where a failed event takes the head back to"),
    PrimaryKeyConstraint("thread_id", "checkpoint_ns"),
    postgresql_with=_HOT,
)

files = Table(
    "files",
    metadata,
    _text("thread_id"),
    _text("file_id"),
    _text("name"),
    _text("mime_type"),
    Column("data", LargeBinary, nullable=False),
    _moment("created_at"),
    PrimaryKeyConstraint("thread_id", "file_id"),
    comment="what users attached to their messages; never updated",
)

thread_records = Table(
    "thread_records",
    metadata,
    Column("thread_id", Text, primary_key=True),
    _text("user_id"),
    _json("metadata"),
    _moment("created_at"),
    _moment("updated_at"),
    Index("thread_records_user", "user_id"),
    comment="what clients noted of threads; without a session: nothing ran in it yet",
)

temporary_threads = Table(
    "temporary_threads",
    metadata,
    Column("thread_id", Text, primary_key=True),
    _moment("created_at"),
    Index("temporary_threads_created", "created_at"),
    comment="threads that were made for a run of their own, until somebody has seen that they are gone",
)

assistants = Table(
    "assistants",
    metadata,
    _text("user_id"),
    _text("assistant_id"),
    Column("version", Integer, nullable=False, comment="the one that counts"),
    Column("newest", Integer, nullable=False, comment="the highest that was ever made"),
    _moment("created_at"),
    _moment("updated_at"),
    PrimaryKeyConstraint("user_id", "assistant_id"),
    comment="graphs with presets that users have created",
)

assistant_versions = Table(
    "assistant_versions",
    metadata,
    _text("user_id"),
    _text("assistant_id"),
    Column("version", Integer, nullable=False),
    _text("graph_id"),
    _text("name"),
    Column("description", Text),
    _json("config"),
    _json("context"),
    _json("metadata"),
    _moment("created_at"),
    PrimaryKeyConstraint("user_id", "assistant_id", "version"),
    comment="never updated",
)

erased_threads = Table(
    "erased_threads",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of the thread's id"),
    comment="threads that went with their users: their ids are never bound again",
)

# From here on: exactly the tables of langgraph-checkpoint-postgres, its versions 0 to 9.

checkpoint_migrations = Table(
    "checkpoint_migrations", metadata, Column("v", Integer, primary_key=True, autoincrement=False)
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _text("thread_id"),
    Column("checkpoint_ns", Text, nullable=False, server_default=text("''")),
    _text("checkpoint_id"),
    Column("parent_checkpoint_id", Text),
    Column("type", Text),
    _json("checkpoint"),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    PrimaryKeyConstraint("thread_id", "checkpoint_ns", "checkpoint_id"),
    Index("checkpoints_thread_id_idx", "thread_id"),
)

checkpoint_blobs = Table(
    "checkpoint_blobs",
    metadata,
    _text("thread_id"),
    Column("checkpoint_ns", Text, nullable=False, server_default=text("''")),
    _text("channel"),
    _text("version"),
    _text("type"),
    Column("blob", LargeBinary),
    PrimaryKeyConstraint("thread_id", "checkpoint_ns", "channel", "version"),
    Index("checkpoint_blobs_thread_id_idx", "thread_id"),
)

checkpoint_writes = Table(
    "checkpoint_writes",
    metadata,
    _text("thread_id"),
    Column("checkpoint_ns", Text, nullable=False, server_default=text("''")),
    _text("checkpoint_id"),
    _text("task_id"),
    Column("idx", Integer, nullable=False),
    _text("channel"),
    Column("type", Text),
    Column("blob", LargeBinary, nullable=False),
    Column("task_path", Text, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
    Index("checkpoint_writes_thread_id_idx", "thread_id"),
)

# And the table of its long-term store, version 3, but for the vectors, which are ours.

store_migrations = Table("store_migrations", metadata, Column("v", Integer, primary_key=True, autoincrement=False))

store = Table(
    "store",
    metadata,
    _text("prefix"),
    _text("key"),
    _json("value"),
    Column("created_at", DateTime(timezone=True), server_default=text("CURRENT_TIMESTAMP")),
    Column("updated_at", DateTime(timezone=True), server_default=text("CURRENT_TIMESTAMP")),
    Column("expires_at", DateTime(timezone=True)),
    Column("ttl_minutes", Integer),
    PrimaryKeyConstraint("prefix", "key"),
    Index("store_prefix_idx", "prefix", postgresql_ops={"prefix": "text_pattern_ops"}),
    Index("idx_store_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
)

store_embeddings = Table(
    "store_embeddings",
    metadata,
    _text("prefix"),
    _text("key"),
    Column("part", Text, nullable=False, comment="of the value, that was embedded"),
    Column("vector", ARRAY(REAL), nullable=False, comment="of length 1"),
    PrimaryKeyConstraint("prefix", "key", "part"),
    ForeignKeyConstraint(
        ["prefix", "key"], ["store.prefix", "store.key"], "store_embeddings_item_fkey", ondelete="CASCADE"
    ),
    comment="what items of the long-term store are found by",
)
