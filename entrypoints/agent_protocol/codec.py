"""Commands and filters from bytes, responses and events to bytes: no I/O, no state, no clock.

Whatever bytes a peer sends, these return a value or raise Bad, and nothing else.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from unbroken.entrypoints.agent_protocol.wire import (
    CHANNELS,
    CUSTOM,
    NOT_SUPPORTED,
    PARAMS,
    Command,
    ErrorCode,
    Event,
    Failure,
    Filter,
    Success,
)
from unbroken.entrypoints.storable import TOO_DEEP, fault_of

MAX_SEQ: Final = 2**53 - 1
MAX_LISTED: Final = 256
"""Channels, namespaces and a namespace's segments of one filter; and answers in one command."""
MAX_NAME: Final = 1_024
"""Characters of a channel, and of a namespace's segment."""

_COMMAND: Final = msgspec.json.Decoder(Command)
_ENCODER: Final = msgspec.json.Encoder()
P = TypeVar("P", bound=Struct)


class Bad(Exception):
    """A command that is refused, or bytes that are none. `id`: which one, if that could be read."""

    def __init__(self, code: ErrorCode, message: str, *, id: int | None = None) -> None:  # noqa: A002
        super().__init__(message)
        self.code = code
        self.id = id

    def as_response(self) -> Failure:
        return Failure(self.id, self.code, str(self))


def decode_command(frame: bytes | str) -> Command:
    """Raises Bad."""
    try:
        command = _COMMAND.decode(frame)
    except msgspec.ValidationError:
        raise Bad(ErrorCode.INVALID_ARGUMENT, "a command has an integer id and a string method") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Bad(ErrorCode.INVALID_ARGUMENT, "a command is one JSON object") from None
    if not 0 <= command.id <= MAX_SEQ:
        raise Bad(ErrorCode.INVALID_ARGUMENT, "a command's id is from 0 to 2^53 - 1")
    return command


def params_of(command: Command) -> Struct:
    """Raises Bad, with the command's id."""
    try:
        return _params(command)
    except Bad as error:
        raise Bad(error.code, str(error), id=command.id) from None


def _params(command: Command) -> Struct:
    kind = PARAMS.get(command.method)
    if kind is None:
        shown = command.method[:40].encode("ascii", "backslashreplace").decode()
        if command.method in NOT_SUPPORTED:
            raise Bad(ErrorCode.NOT_SUPPORTED, f"{shown} is not served here")
        raise Bad(ErrorCode.UNKNOWN_COMMAND, f"there is no command {shown!r}; there are {', '.join(PARAMS)}")
    params = decoded(bytes(command.params) or b"{}", kind, command.method)
    if isinstance(params, Filter):
        check_filter(params)
    return params


def decoded(data: bytes, kind: type[P], what: str) -> P:
    """Raises Bad: of another shape, nested too deeply, or with what no store takes."""
    try:
        if (fault := fault_of(msgspec.json.decode(data))) is not None:
            raise Bad(ErrorCode.INVALID_ARGUMENT, f"{what} {fault}")
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise Bad(ErrorCode.INVALID_ARGUMENT, f"{what}: {error}") from None
    except (msgspec.DecodeError, UnicodeError):
        raise Bad(ErrorCode.INVALID_ARGUMENT, f"{what}: this is not JSON, or holds half a surrogate pair") from None
    except RecursionError:
        raise Bad(ErrorCode.INVALID_ARGUMENT, f"{what} {TOO_DEEP}") from None


def check_filter(wanted: Filter) -> None:
    """Raises Bad."""
    if not wanted.channels:
        raise Bad(ErrorCode.INVALID_ARGUMENT, "channels must not be empty")
    unknown = [name for name in wanted.channels if name not in CHANNELS and not _named_custom(name)]
    if unknown:
        allowed = f"{', '.join(sorted(CHANNELS))}, or custom:<name>"
        raise Bad(ErrorCode.INVALID_ARGUMENT, f"there is no channel {unknown[0][:40]!r}; there are {allowed}")
    namespaces = wanted.namespaces or []
    if max([len(wanted.channels), len(namespaces), *map(len, namespaces)]) > MAX_LISTED:
        raise Bad(ErrorCode.INVALID_ARGUMENT, f"a filter lists at most {MAX_LISTED} of anything")
    if any(len(name) > MAX_NAME for names in (wanted.channels, *namespaces) for name in names):
        raise Bad(ErrorCode.INVALID_ARGUMENT, f"a filter's names have at most {MAX_NAME} characters")
    if wanted.depth is not None and wanted.depth < 0:
        raise Bad(ErrorCode.INVALID_ARGUMENT, "depth must not be negative")
    since = getattr(wanted, "since", None)
    if since is not None and not 0 <= since <= MAX_SEQ:
        raise Bad(ErrorCode.INVALID_ARGUMENT, "since must be the seq of an event")


def encode(message: Success | Failure | Event) -> bytes:
    return _ENCODER.encode(message)


def sse(event: Event) -> bytes:
    """One server-sent event: the protocol's event is its data, and names itself once more around it."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (event.method.encode(), event.seq, encode(event))


def _named_custom(name: str) -> bool:
    return name.startswith(CUSTOM) and len(name) > len(CUSTOM)
