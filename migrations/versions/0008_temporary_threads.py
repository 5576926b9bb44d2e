"""Which threads were made for a run of their own: what is left of such runs is found without a look at all threads.

An accept writes it in its own statement, and the stored function stays as it is: processes of both versions run side by
side during a deploy. Threads that were made before are not known here.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "temporary_threads",
        sa.Column("thread_id", sa.Text, primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        comment="threads that were made for a run of their own, until somebody has seen that they are gone",
    )
    op.create_index("temporary_threads_created", "temporary_threads", ["created_at"])
    # The planner's samples would outlive what they were taken from.
    op.execute("ALTER TABLE temporary_threads ALTER COLUMN thread_id SET STATISTICS 0")


def downgrade() -> None:
    op.drop_table("temporary_threads")
