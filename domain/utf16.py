"""Text as UTF-16 counts it, which is how browsers do."""

from __future__ import annotations

REPLACEMENT = "�"


def units(text: str) -> int:
    """Length in UTF-16 code units."""
    if text.isascii():
        return len(text)
    return len(text) + sum(character > "\uffff" for character in text)


def well_formed(text: str) -> str:
    """U+0000 and unpaired surrogates become U+FFFD; surrogate pairs become the character they mean."""
    if text.isascii():
        return text.replace("\x00", REPLACEMENT)
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return paired.replace("\x00", REPLACEMENT)


def beginning(text: str, most: int) -> str:
    """Its first `most` UTF-16 units; inside a surrogate pair, rounded down. `text` is well-formed."""
    if text.isascii():
        return text[:most]
    return text[:most].encode("utf-16-le")[: 2 * most].decode("utf-16-le", "ignore")


def cut(text: str, offset: int) -> str:
    """`text` without its first `offset` UTF-16 units; inside a surrogate pair, rounded down."""
    if text.isascii():
        return text[offset:]
    seen = 0
    for index, character in enumerate(text):
        width = 2 if character > "\uffff" else 1
        if seen + width > offset:
            return text[index:]
        seen += width
    return ""
