"""Files that a message refers to."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from unbroken.domain.events import ContentBlock

REFERRING: Final = frozenset({"image", "file", "audio"})
"""Types of the content blocks that may hold a `file_id` in place of data."""


class StoredFile(Struct, frozen=True):
    file_id: str
    name: str
    mime_type: str
    size: int
    """Bytes."""


def file_id_of(block: ContentBlock) -> str | None:
    """The file that a block stands for; None: it holds its own data, or is of another type."""
    file_id = block.get("file_id")
    return str(file_id) if block.get("type") in REFERRING and file_id is not None else None


def file_ids(content: str | list[ContentBlock]) -> frozenset[str]:
    if isinstance(content, str):
        return frozenset()
    return frozenset(file_id for block in content if (file_id := file_id_of(block)) is not None)
