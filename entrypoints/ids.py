"""Identities of events and effects."""

from __future__ import annotations

from uuid_utils import uuid7


def new_id() -> str:
    """Time-ordered and globally unique (RFC 9562, version 7)."""
    return str(uuid7())
