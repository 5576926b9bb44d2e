"""What became of a message: when it had come, when each attempt began and why, when it was delivered and acknowledged.

Everything but the history of the delivery marks stands in rows that are written anyway. What older rows do not say is
null, and stays unknown.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FUNCTIONS = ("accept", "claim", "commit")

PERSONAL = {
    "sessions": ("attempts",),
    "effects": ("attempts", "last_error"),
    "delivery_marks": ("thread_id",),
}
"""No plan needs statistics of these, and the planner's samples would outlive what they were taken from."""


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.add_column("events", sa.Column("received_at", moment, comment="null: not known"))
    op.add_column("sessions", sa.Column("attempts", JSONB, comment="when and why each try at applied_seq + 1 began"))
    op.add_column("effects", sa.Column("attempts", JSONB, comment="of the event, at its first effect; null: not known"))
    op.add_column("effects", sa.Column("cancelled_at", moment, comment="when the event's cancel was accepted"))
    op.add_column("effects", sa.Column("last_error", sa.Text, comment="why its last attempt failed"))
    op.create_index("effects_failed", "effects", ["thread_id"], postgresql_where=sa.text("status = 'failed'"))
    op.create_table(
        "delivery_marks",
        sa.Column("thread_id", sa.Text, nullable=False),
        sa.Column("mark", sa.Text, nullable=False),
        sa.Column("upto", sa.BigInteger, nullable=False),
        sa.Column("above", sa.BigInteger, nullable=False, comment="where the mark stood before"),
        sa.Column("at", moment, nullable=False),
        sa.PrimaryKeyConstraint("thread_id", "mark", "upto"),
        sa.CheckConstraint("mark IN ('sent', 'acked')", name="delivery_marks_mark_word"),
        comment="each time a mark of deliveries was raised: never updated",
    )
    for table, columns in PERSONAL.items():
        for column in columns:
            _execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    for name in (*FUNCTIONS, "forget"):
        _execute((Path(__file__).parent / f"0003_{name}.sql").read_text("utf-8"))


def downgrade() -> None:
    for name in FUNCTIONS:
        _execute(f"DROP FUNCTION unbroken_{name}_v2")
    _execute("DROP FUNCTION unbroken_forget_v1")
    _execute((Path(__file__).parent / "0002_forget.sql").read_text("utf-8"))
    op.drop_table("delivery_marks")
    op.drop_index("effects_failed", "effects")
    for column in ("last_error", "cancelled_at", "attempts"):
        op.drop_column("effects", column)
    op.drop_column("sessions", "attempts")
    op.drop_column("events", "received_at")


def _execute(statement: str) -> None:
    """Verbatim: nothing in it is a bind parameter."""
    op.get_bind().exec_driver_sql(statement)
