"""What the scripted model says: a pure function of the conversation it was given, and of a salt for each call.

A call's text begins with its salt and a digest of all it was shown. So a text that belongs to two attempts, to
another session, or to a conversation with a doubled, lost or reordered message is not what `speech` gives.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

Said = tuple[str, str]
"""Role (`human`, `ai`, `tool`) and text."""

OPTION = re.compile(r"\b(words|pause|fail|late|die|remind|ask|deaf|block|call|wide|fan|deep|asks)=([0-9.]+)")
OPENING = re.compile(r"\[(?P<salt>[0-9a-f]+) (?P<digest>[0-9a-f]{12})\]")
WORDS = 8


def digest(conversation: Sequence[Said]) -> str:
    return hashlib.sha256(json.dumps(list(conversation)).encode()).hexdigest()[:12]


def option(conversation: Sequence[Said], name: str, default: float) -> float:
    """`name=number` in the last thing a human said."""
    asked = next((text for role, text in reversed(conversation) if role == "human"), "")
    return next((float(value) for key, value in OPTION.findall(asked) if key == name), default)


def speech(conversation: Sequence[Said], salt: str) -> list[str]:
    """The chunks of one answer; every fifth word holds a character of two UTF-16 units."""
    said = conversation[-1][1] if conversation else ""
    wide = int(option(conversation, "wide", 0))
    chunks = [f"[{salt} {digest(conversation)}]"]
    for index in range(int(option(conversation, "words", WORDS))):
        word = hashlib.sha256(f"{said}|{salt}|{index}".encode()).hexdigest()[:6]
        chunks.append(f" {'🧭' if index % 5 == 4 else ''}{word.ljust(wide, '.')}")
    return chunks


def salt_of(text: str) -> str:
    """Of the call that said `text`; empty if this is not its beginning."""
    opening = OPENING.match(text)
    return opening["salt"] if opening else ""


def is_speech(conversation: Sequence[Said], text: str) -> bool:
    """Whether `text` is the whole answer of one call to exactly this conversation."""
    return text == "".join(speech(conversation, salt_of(text)))
