"""What replicas say to each other about a running attempt. Nothing durable: what is asked for is shown, or is not.

Whoever reaches the bus may have written a message. So each is validated in full before anything is done with it, and
what it claims counts only where the store says the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from unbroken.application.deliveries import ResetReason
from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.peers import MAX_MESSAGE_BYTES
from unbroken.domain.session import SessionKey
from unbroken.domain.stream_parts import Part

Natural = Annotated[int, Meta(ge=0, lt=1 << 62)]


class Want(Struct, frozen=True, array_like=True, tag="want"):
    """A replica has readers of a session whose attempt runs at the one that is asked. Good for some seconds."""

    key: SessionKey
    replica: Natural
    """Who asks."""
    run: Natural
    """The attempt that it knows of."""
    position: Natural
    """How much of that attempt's stream it has: the `until` of the last Feed."""
    again: bool
    """Something is missing: what was sent beyond `position` did not arrive, or not in order."""


class Feed(Struct, frozen=True, array_like=True, tag="feed"):
    """The parts of an attempt's stream from `position` up to `until`, which only its owner counts. Those of one message
    may be merged; none, where the attempt has said nothing yet."""

    key: SessionKey
    replica: Natural
    """Where the attempt runs."""
    run: Natural
    seq: Natural
    """Of its event."""
    log_index: Natural
    """The log's end when it began: log first, then live (protocol, rule 4)."""
    reason: ResetReason
    position: Natural
    until: Natural
    parts: tuple[Part, ...]


_decoder: Final[msgspec.msgpack.Decoder[Want | Feed]] = msgspec.msgpack.Decoder(Want | Feed)
_encoder: Final = msgspec.msgpack.Encoder()


def encoded(message: Want | Feed | Part) -> bytes:
    return _encoder.encode(message)


def deliver(on_want: Callable[[Want], None], on_feed: Callable[[Feed], None], message: bytes) -> None:
    """Hand a message to whom it is for. What is none of ours is dropped."""
    found = decoded(message)
    if isinstance(found, Want):
        on_want(found)
    elif found is not None:
        on_feed(found)


def decoded(message: bytes) -> Want | Feed | None:
    """None: not a message of ours."""
    if len(message) > MAX_MESSAGE_BYTES:
        return None
    try:
        found = _decoder.decode(message)
    except (msgspec.MsgspecError, InvalidValue, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(found, Feed) and found.until - found.position < len(found.parts):
        return None
    return found
