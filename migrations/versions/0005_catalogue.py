"""Threads before their first run, what clients note of threads, and assistants that users create.

Every function that was there stays: processes of both versions run side by side during a deploy.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FUNCTIONS = {
    "accept": 3,
    "create_thread": 2,
    "delete_thread": 2,
    "erase_thread": 2,
    "record_thread": 1,
    "describe_thread": 1,
    "discard_thread": 1,
}

PERSONAL = {
    "thread_records": ("thread_id", "user_id", "metadata"),
    "assistants": ("user_id", "assistant_id"),
    "assistant_versions": (
        "user_id",
        "assistant_id",
        "graph_id",
        "name",
        "description",
        "config",
        "context",
        "metadata",
    ),
}
"""No plan needs statistics of these, and the planner's samples would outlive what they were taken from."""


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "thread_records",
        sa.Column("thread_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        comment="what clients noted of threads; without a session: nothing ran in it yet",
    )
    op.create_index("thread_records_user", "thread_records", ["user_id"])
    op.create_table(
        "assistants",
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("assistant_id", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, comment="the one that counts"),
        sa.Column("newest", sa.Integer, nullable=False, comment="the highest that was ever made"),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "assistant_id"),
        comment="graphs with presets that users have created",
    )
    op.create_table(
        "assistant_versions",
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("assistant_id", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("graph_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("config", JSONB, nullable=False),
        sa.Column("context", JSONB, nullable=False),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "assistant_id", "version"),
        comment="never updated",
    )
    for table, columns in PERSONAL.items():
        for column in columns:
            _execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    for name in FUNCTIONS:
        _execute((Path(__file__).parent / f"0005_{name}.sql").read_text("utf-8"))


def downgrade() -> None:
    for name, version in FUNCTIONS.items():
        _execute(f"DROP FUNCTION unbroken_{name}_v{version}")
    op.drop_table("assistant_versions")
    op.drop_table("assistants")
    op.drop_table("thread_records")


def _execute(statement: str) -> None:
    """Verbatim: nothing in it is a bind parameter."""
    op.get_bind().exec_driver_sql(statement)
