"""Events, sessions, effects, and the official checkpoint tables.

The official tables may be here already (X2): then they are brought to the official version 9 and adopted with all
that is in them. On the way down they are dropped only if they are empty: what they hold can be read by the official
saver, whoever wrote it, and is nobody's to throw away.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

HOT = {"fillfactor": 70}

OURS = ("heads", "replicas", "timers", "controls", "deliveries", "effects", "events", "sessions", "inbox")

# As in langgraph-checkpoint-postgres, version by version; but its indexes are made `CONCURRENTLY`, which cannot be
# done inside a transaction.
OFFICIAL = (
    "CREATE TABLE IF NOT EXISTS checkpoint_migrations (v INTEGER PRIMARY KEY)",
    """CREATE TABLE IF NOT EXISTS checkpoints (
        thread_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL DEFAULT '',
        checkpoint_id TEXT NOT NULL,
        parent_checkpoint_id TEXT,
        type TEXT,
        checkpoint JSONB NOT NULL,
        metadata JSONB NOT NULL DEFAULT '{}',
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
    )""",
    """CREATE TABLE IF NOT EXISTS checkpoint_blobs (
        thread_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL DEFAULT '',
        channel TEXT NOT NULL,
        version TEXT NOT NULL,
        type TEXT NOT NULL,
        blob BYTEA,
        PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
    )""",
    """CREATE TABLE IF NOT EXISTS checkpoint_writes (
        thread_id TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL DEFAULT '',
        checkpoint_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        channel TEXT NOT NULL,
        type TEXT,
        blob BYTEA NOT NULL,
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
    )""",
    "ALTER TABLE checkpoint_blobs ALTER COLUMN blob DROP NOT NULL",
    "CREATE INDEX IF NOT EXISTS checkpoints_thread_id_idx ON checkpoints (thread_id)",
    "CREATE INDEX IF NOT EXISTS checkpoint_blobs_thread_id_idx ON checkpoint_blobs (thread_id)",
    "CREATE INDEX IF NOT EXISTS checkpoint_writes_thread_id_idx ON checkpoint_writes (thread_id)",
    "ALTER TABLE checkpoint_writes ADD COLUMN IF NOT EXISTS task_path TEXT NOT NULL DEFAULT ''",
    "INSERT INTO checkpoint_migrations (v) SELECT generate_series(0, 9) ON CONFLICT DO NOTHING",
)

DROP_OFFICIAL_IF_EMPTY = """DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM checkpoints) AND NOT EXISTS (SELECT FROM checkpoint_blobs)
            AND NOT EXISTS (SELECT FROM checkpoint_writes) THEN
        DROP TABLE checkpoint_writes, checkpoint_blobs, checkpoints, checkpoint_migrations;
    ELSE
        ALTER TABLE checkpoints ALTER COLUMN thread_id RESET (n_distinct);
        ALTER TABLE checkpoint_blobs ALTER COLUMN thread_id RESET (n_distinct);
        ALTER TABLE checkpoint_writes ALTER COLUMN thread_id RESET (n_distinct);
    END IF;
END
$$"""

# The official tables have an index on `thread_id` beside their keys, which begin with it. Where most threads are short,
# both look as good to the planner, and it takes the smaller one: then every read of one checkpoint goes through all of
# its thread's. So the planner is told that threads are few and long, which is what a plan must bear.
MANY_ROWS_A_THREAD = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "events", "effects")
LONG_THREADS = "ALTER TABLE {table} ALTER COLUMN thread_id SET (n_distinct = 10)"

FUNCTIONS = ("session_key", "accept", "claim", "put_state", "put", "commit", "cancel", "schedule")
VIEWS = ("outbox", "audit_trail")


def upgrade() -> None:
    for statement in OFFICIAL:
        _execute(statement)
    _sessions()
    _events()
    _effects()
    _timers()
    for table in MANY_ROWS_A_THREAD:
        _execute(LONG_THREADS.format(table=table))
        _execute(f"ANALYZE {table}")  # what the planner knew of an adopted table would stand until the next one
    for name in (*FUNCTIONS, *VIEWS):
        _execute((Path(__file__).parent / f"0001_{name}.sql").read_text("utf-8"))


def downgrade() -> None:
    for name in VIEWS:
        _execute(f"DROP VIEW {name}")
    for name in FUNCTIONS:
        _execute(f"DROP FUNCTION unbroken_{name}_v1")
    for table in OURS:
        op.drop_table(table)
    _execute("DROP SEQUENCE replica_ids")
    _execute(DROP_OFFICIAL_IF_EMPTY)


def _execute(statement: str) -> None:
    """Verbatim: nothing in it is a bind parameter."""
    op.get_bind().exec_driver_sql(statement)


def _sessions() -> None:
    op.create_table(
        "inbox",
        sa.Column("thread_id", sa.Text, primary_key=True),
        sa.Column("next_seq", sa.BigInteger, nullable=False),
        sa.Column(
            "waiting",
            sa.Boolean,
            nullable=False,
            server_default=sa.text("false"),
            comment="an accept could not claim",
        ),
        comment="the counter that accepts use: a row of its own, so that it never waits behind a turn's commit",
        postgresql_with=HOT,
    )
    op.create_index("inbox_waiting", "inbox", ["thread_id"], postgresql_where=sa.text("waiting"))
    op.create_table(
        "sessions",
        sa.Column("thread_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("owner", sa.BigInteger, comment="replicas.id: one boot of one replica"),
        sa.Column("epoch", sa.BigInteger, nullable=False, comment="fencing token: grows whenever the owner changes"),
        sa.Column("applied_seq", sa.BigInteger, nullable=False, comment="the last event that reached its end"),
        sa.Column("run", sa.BigInteger, nullable=False, comment="attempts counted on this thread, ever"),
        sa.Column("tries", sa.Integer, nullable=False, comment="attempts counted at applied_seq + 1; 0: nothing runs"),
        sa.Column("head_event", sa.BigInteger, nullable=False, comment="the event whose run wrote the root head"),
        sa.Column("log_index", sa.BigInteger, nullable=False, comment="the log's end"),
        sa.Column(
            "open_questions",
            ARRAY(sa.Text),
            nullable=False,
            server_default=sa.text("'{}'"),
            comment="interrupt ids that wait for an answer",
        ),
        sa.Column(
            "log_floor",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="log entries up to here were removed",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), comment="the tombstone"),
        postgresql_with=HOT,
    )
    op.create_index("sessions_running", "sessions", ["thread_id"], postgresql_where=sa.text("tries > 0"))
    _execute("CREATE SEQUENCE replica_ids")
    op.create_table(
        "replicas",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("boot", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, comment="names this boot; null: it has left"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("id", name="replicas_id_key"),
        comment="who is alive, by this database's clock; one row a name, so a new boot voids the former at once",
    )
    op.create_table(
        "heads",
        sa.Column("thread_id", sa.Text, nullable=False),
        sa.Column("checkpoint_ns", sa.Text, nullable=False),
        sa.Column("checkpoint_id", sa.Text, nullable=False, comment="empty: known to be nowhere; no row: never set"),
        sa.Column("base_id", sa.Text, nullable=False, comment="where a failed event takes the head back to"),
        sa.PrimaryKeyConstraint("thread_id", "checkpoint_ns"),
        postgresql_with=HOT,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("thread_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("payload", JSONB, nullable=False),
        sa.Column("body_hash", sa.LargeBinary, nullable=False),
        sa.Column("trace_context", JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("thread_id", "seq"),
        sa.UniqueConstraint("thread_id", "request_id", name="events_request_id_key"),
        comment="the queue and the audit trail: never updated",
    )
    op.create_table(
        "controls",
        sa.Column("thread_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, comment="of the event to end"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("thread_id", "seq"),
        sa.CheckConstraint("kind IN ('cancel', 'rollback')", name="controls_kind_word"),
        comment="cancels of unfinished events; they go with the event's end",
    )


def _effects() -> None:
    op.create_table(
        "effects",
        sa.Column("thread_id", sa.Text, nullable=False),
        sa.Column("event_seq", sa.BigInteger, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("log_index", sa.BigInteger, comment="set for what clients see"),
        sa.Column("checkpoint_id", sa.Text),
        sa.Column("base_id", sa.Text, nullable=False, comment="root head before the event; empty: nowhere"),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("payload", JSONB, nullable=False),
        sa.Column("dedupe_key", sa.Text, nullable=False),
        sa.Column("status", sa.Text, comment="null: it has a log_index, and its status follows from deliveries"),
        sa.Column("attempt_count", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("last_attempt_at", sa.DateTime(timezone=True)),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True)),
        sa.Column("claimed_by", sa.BigInteger),
        sa.Column(
            "claim_no",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="fences late finishers",
        ),
        sa.Column("claimed_until", sa.DateTime(timezone=True)),
        sa.Column("trace_context", JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("thread_id", "event_seq", "ordinal"),
        sa.UniqueConstraint("thread_id", "dedupe_key", name="effects_dedupe_key_key"),
        sa.UniqueConstraint("thread_id", "log_index", name="effects_log_index_key"),
        sa.CheckConstraint("(log_index IS NULL) = (status IS NOT NULL)", name="effects_status_or_log"),
        sa.CheckConstraint("status IN ('pending', 'executing', 'completed', 'failed')", name="effects_status_word"),
    )
    op.create_index(
        "effects_unfinished",
        "effects",
        ["thread_id", "event_seq", "ordinal"],
        postgresql_where=sa.text("status IN ('pending', 'executing')"),
    )
    op.create_table(
        "deliveries",
        sa.Column("thread_id", sa.Text, primary_key=True),
        sa.Column("sent", sa.BigInteger, nullable=False, comment="highest log_index ever written to a socket"),
        sa.Column("acked", sa.BigInteger, nullable=False, comment="highest log_index any client has acknowledged"),
        comment="marks of delivery: apart from sessions, so that acknowledging never waits for a turn",
        postgresql_with=HOT,
    )


def _timers() -> None:
    op.create_table(
        "timers",
        sa.Column("thread_id", sa.Text, nullable=False),
        sa.Column("timer_id", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("fire_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("payload", JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("thread_id", "timer_id", "generation"),
        sa.UniqueConstraint("thread_id", "timer_id", "created_by", name="timers_created_by_key"),
        sa.CheckConstraint("status IN ('pending', 'cancelled', 'fired')", name="timers_status_word"),
        comment="one row for each time a timer was set; at most one of a timer's rows is pending",
    )
    op.create_index("timers_due", "timers", ["fire_at"], postgresql_where=sa.text("status = 'pending'"))
    op.create_index("timers_pending", "timers", ["thread_id"], postgresql_where=sa.text("status = 'pending'"))
