"""A cancel that may forget its event. The one before it stays: processes of both versions run side by side during a
deploy."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute((Path(__file__).parent / "0007_cancel.sql").read_text("utf-8"))


def downgrade() -> None:
    _execute("DROP FUNCTION unbroken_cancel_v2")


def _execute(statement: str) -> None:
    """Verbatim: nothing in it is a bind parameter."""
    op.get_bind().exec_driver_sql(statement)
