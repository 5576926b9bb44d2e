"""What a seeded bug is."""

from __future__ import annotations

from msgspec import Struct


class Edit(Struct, frozen=True):
    file: str
    before: str
    """Occurs exactly once in it."""
    after: str


class Mutant(Struct, frozen=True):
    name: str
    what: str
    """The defect, in one sentence."""
    seen_in: str
    """What kind of system has had it."""
    edits: tuple[Edit, ...]
    equivalent: str = ""
    """Why nobody can notice it; empty: somebody has to."""


def mutated(text: str, edits: tuple[Edit, ...]) -> str:
    """Raises ValueError unless each edit fits exactly once."""
    for edit in edits:
        if text.count(edit.before) != 1:
            raise ValueError(f"{edit.file}: {edit.before!r} occurs {text.count(edit.before)} times")
        text = text.replace(edit.before, edit.after)
    return text
