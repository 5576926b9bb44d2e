"""What a taken frame must be, judged without the codec's own checks."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from unbroken.entrypoints.storable import MAX_DEPTH
from unbroken.entrypoints.web.codec import MAX_CURSOR, BadFrame, Limits, decode
from unbroken.entrypoints.web.frames import AckFrame, ClientFrame, CloseCode, MessageFrame, RespondFrame

ENCODER: Final = msgspec.json.Encoder()


class Unsound(AssertionError):
    """The codec took what it must refuse."""


def outcome_of(frame: str | bytes, limits: Limits) -> ClientFrame | BadFrame:
    """What the codec makes of a frame. Raises Unsound, or whatever the codec raises that is no BadFrame."""
    try:
        taken = decode(frame, limits)
    except BadFrame as bad:
        if (bad.close is not None) != _too_big(frame, limits) or bad.close not in (None, CloseCode.TOO_BIG):
            raise Unsound(f"{bad.code} closes with {bad.close}") from bad
        return bad
    if isinstance(frame, bytes) or _too_big(frame, limits):
        raise Unsound("a binary frame, or one over the limit, was taken")
    if isinstance(taken, AckFrame):
        _demand(0 <= taken.cursor <= MAX_CURSOR, "the cursor's range")
        return taken
    _demand(0 < len(taken.request_id) <= 1024 and "\x00" not in taken.request_id, "the request id")
    if isinstance(taken, MessageFrame):
        _storable(taken.content, limits)
    elif isinstance(taken, RespondFrame):
        _storable(taken.value, limits)
    return taken


def _too_big(frame: str | bytes, limits: Limits) -> bool:
    return isinstance(frame, str) and len(frame.encode("utf-8", "surrogatepass")) > limits.frame


def _storable(value: Any, limits: Limits) -> None:
    """Short, shallow, well-formed, and without U+0000."""
    if isinstance(value, str):
        _demand(len(value.encode()) <= limits.content, "the content's length")  # a half pair raises here
    else:
        _demand(len(ENCODER.encode(value)) <= limits.content, "the content's length")
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            item.encode()
            _demand("\x00" not in item, "no U+0000")
        elif isinstance(item, list | dict):
            _demand(depth <= MAX_DEPTH, "the depth")
            inner = item if isinstance(item, list) else [*item, *item.values()]
            waiting.extend((part, depth + 1) for part in inner)


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise Unsound(what)
