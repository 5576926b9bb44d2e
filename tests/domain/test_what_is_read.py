"""One reading of a message's content, for the log and for every client's protocol."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.domain.events import text_of

THOUGHT = {"type": "reasoning", "reasoning": "hm", "text": "hm"}
CALL = {"type": "tool_use", "id": "1", "name": "look", "input": {"text": "here"}}
FILE = {"type": "file", "mime_type": "text/plain", "text": "a whole file"}


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("so", "so"),
        (["so ", {"type": "text", "text": "it "}, "is"], "so it is"),
        (({"type": "text", "text": "so"},), "so"),
        ([THOUGHT, {"type": "text", "text": "so"}, CALL, FILE, {"text": "of no type"}], "so"),
        ([{"type": "text"}, {"type": "text", "text": None}, {"type": "text", "text": 1}, 2, None], ""),
        (None, ""),
        ({"type": "text", "text": "no list"}, ""),
        (7, ""),
    ],
)
def test_text_blocks_and_bare_texts_are_read_and_nothing_else(content: Any, read: str) -> None:
    assert text_of(content) == read
