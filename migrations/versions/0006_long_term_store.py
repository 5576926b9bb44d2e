"""Agents' long-term memory: the official store's table, and vectors in one of ours.

The official table may be here already: then it is brought to the official version 3 and adopted with all that is in it.
On the way down it is dropped only if it is empty, as the checkpoint tables are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As in langgraph-checkpoint-postgres, version by version; but its indexes are made `CONCURRENTLY`, which cannot be
# done inside a transaction.
BROUGHT_UP = (
    "CREATE INDEX IF NOT EXISTS store_prefix_idx ON store USING btree (prefix text_pattern_ops)",
    "ALTER TABLE store ADD COLUMN IF NOT EXISTS expires_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE store ADD COLUMN IF NOT EXISTS ttl_minutes INT",
    "CREATE INDEX IF NOT EXISTS idx_store_expires_at ON store (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS store_migrations (v INTEGER PRIMARY KEY)",
    "INSERT INTO store_migrations (v) SELECT generate_series(0, 3) ON CONFLICT DO NOTHING",
)

DROP_IF_EMPTY = """DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM store) THEN
        DROP TABLE store, store_migrations;
    END IF;
END $$"""


def upgrade() -> None:
    if sa.inspect(op.get_bind()).has_table("store"):
        for statement in BROUGHT_UP:
            op.execute(statement)
    else:
        _create()
    op.create_table(
        "store_embeddings",
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("part", sa.Text, nullable=False, comment="of the value, that was embedded"),
        sa.Column("vector", ARRAY(sa.REAL), nullable=False, comment="of length 1"),
        sa.PrimaryKeyConstraint("prefix", "key", "part"),
        sa.ForeignKeyConstraint(
            ["prefix", "key"], ["store.prefix", "store.key"], "store_embeddings_item_fkey", ondelete="CASCADE"
        ),
        comment="what items of the long-term store are found by",
    )
    # Numbers like these do not compress, and each search reads them.
    op.execute("ALTER TABLE store_embeddings ALTER COLUMN vector SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE store_embeddings ALTER COLUMN vector SET STATISTICS 0")


def _create() -> None:
    moment, now = sa.DateTime(timezone=True), sa.text("CURRENT_TIMESTAMP")
    op.create_table(
        "store",
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", JSONB, nullable=False),
        sa.Column("created_at", moment, server_default=now),
        sa.Column("updated_at", moment, server_default=now),
        sa.Column("expires_at", moment),
        sa.Column("ttl_minutes", sa.Integer),
        sa.PrimaryKeyConstraint("prefix", "key"),
    )
    op.create_index("store_prefix_idx", "store", ["prefix"], postgresql_ops={"prefix": "text_pattern_ops"})
    op.create_index("idx_store_expires_at", "store", ["expires_at"], postgresql_where=sa.text("expires_at IS NOT NULL"))
    op.create_table("store_migrations", sa.Column("v", sa.Integer, primary_key=True, autoincrement=False))
    op.execute("INSERT INTO store_migrations (v) SELECT generate_series(0, 3)")


def downgrade() -> None:
    op.drop_table("store_embeddings")
    op.execute(DROP_IF_EMPTY)
