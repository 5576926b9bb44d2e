"""When a session's superseded checkpoints are removed, and what of them stays."""

from __future__ import annotations

from typing import Final

KEEP_BRANCHES: Final = 20
"""Latest events whose beginnings are kept by default, so that messages can be replaced."""

PRUNE_EVERY: Final = 8
"""Finishing commits: pruning reads what it keeps, which one turn in eight pays for the others."""


def prunes(seq: int) -> bool:
    """Whether the commit that finishes event `seq` also prunes."""
    return seq % PRUNE_EVERY == PRUNE_EVERY - 1
