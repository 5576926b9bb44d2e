"""A claim that knows of attempts which were handed over. The one before it stays: processes of both versions run side
by side during a deploy."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute((Path(__file__).parent / "0004_claim.sql").read_text("utf-8"))


def downgrade() -> None:
    _execute("DROP FUNCTION unbroken_claim_v3")


def _execute(statement: str) -> None:
    """Verbatim: nothing in it is a bind parameter."""
    op.get_bind().exec_driver_sql(statement)
