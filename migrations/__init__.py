"""Alembic's migrations of the schema in adapters.postgres.tables."""
