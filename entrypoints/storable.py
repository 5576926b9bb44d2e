"""Which JSON from outside may be stored at all, whatever the protocol that brought it."""

from __future__ import annotations

from typing import Any, Final

MAX_DEPTH: Final = 64
"""Of lists and objects in one another: what is stored must also be readable from a deep stack."""
HOLDS_NUL: Final = "holds U+0000"
TOO_DEEP: Final = f"is nested deeper than {MAX_DEPTH}"


def fault_of(value: Any) -> str | None:
    """What forbids to store it, to be said behind its name: U+0000 in a text or a name, or its depth; found without
    recursion. Numbers and surrogates are the decoder's to refuse."""
    level = [value]
    for _ in range(MAX_DEPTH):
        following: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if "\x00" in item:
                    return HOLDS_NUL
            elif isinstance(item, list):
                following.extend(item)
            elif isinstance(item, dict):
                following.extend(item)
                following.extend(item.values())
        if not following:
            return None
        level = following
    return TOO_DEEP
