"""Threads as their owner sees them: titles, files, deletion without a trace.

No statistics are gathered of columns that hold what people said: the planner's samples would outlive what they were
taken from.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FUNCTIONS = (
    "said",
    "forget",
    "create_thread",
    "delete_thread",
    "erase_thread",
    "forget_statistics",
    "refuse_erased",
    "add_file",
    "prune",
)

PERSONAL = {
    "inbox": ("thread_id",),
    "sessions": ("thread_id", "user_id", "agent_id", "title", "open_questions"),
    "events": ("id", "request_id", "payload", "body_hash", "trace_context"),
    "effects": ("id", "payload", "dedupe_key", "trace_context"),
    "deliveries": ("thread_id",),
    "controls": ("thread_id",),
    "timers": ("thread_id", "timer_id", "created_by", "payload"),
    "heads": ("thread_id",),
    "checkpoints": ("checkpoint", "metadata"),
    "checkpoint_blobs": ("blob",),
    "checkpoint_writes": ("task_path", "blob"),
    "files": ("thread_id", "file_id", "name", "mime_type", "data"),
}
"""No plan needs these: rows are found by keys. Where `thread_id` is missing here, its statistics carry the planner's
hint that threads are long, and are taken anew whenever a user is erased."""


def upgrade() -> None:
    title = sa.Column("title", sa.Text, comment="chosen by the user; null: made of the first message")
    op.add_column("sessions", title)
    op.create_index("sessions_user", "sessions", ["user_id"])
    op.create_table(
        "files",
        sa.Column("thread_id", sa.Text, nullable=False),
        sa.Column("file_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("mime_type", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("thread_id", "file_id"),
        comment="what users attached to their messages; never updated",
    )
    op.create_table(
        "erased_threads",
        sa.Column("digest", sa.LargeBinary, primary_key=True, comment="SHA-256 of the thread's id"),
        comment="threads that went with their users: their ids are never bound again",
    )
    _execute("ALTER TABLE files ALTER COLUMN data SET STORAGE EXTERNAL")  # pictures do not get smaller
    for table, columns in PERSONAL.items():
        for column in columns:
            _execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    for name in FUNCTIONS:
        _execute((Path(__file__).parent / f"0002_{name}.sql").read_text("utf-8"))
    _execute(
        "CREATE TRIGGER refuse_erased BEFORE INSERT ON sessions"
        " FOR EACH ROW EXECUTE FUNCTION unbroken_refuse_erased_v1()"
    )


def downgrade() -> None:
    _execute("DROP TRIGGER refuse_erased ON sessions")
    for name in FUNCTIONS:
        _execute(f"DROP FUNCTION unbroken_{name}_v1")
    for table, columns in PERSONAL.items():
        for column in columns:
            _execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS -1")
    op.drop_table("erased_threads")
    op.drop_table("files")
    op.drop_index("sessions_user", "sessions")
    op.drop_column("sessions", "title")


def _execute(statement: str) -> None:
    """Verbatim: nothing in it is a bind parameter."""
    op.get_bind().exec_driver_sql(statement)
