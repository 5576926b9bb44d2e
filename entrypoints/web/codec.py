"""Frames from text and to text: no I/O, no state, no clock.

Whatever bytes a peer sends, `decode` returns a frame or raises BadFrame, and nothing else (rule 9).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import msgspec
from msgspec import UNSET, Struct

from unbroken.entrypoints.storable import HOLDS_NUL, TOO_DEEP, fault_of
from unbroken.entrypoints.web.frames import (
    CLIENT_FRAMES,
    AckFrame,
    CancelFrame,
    ClientFrame,
    CloseCode,
    Content,
    ErrorCode,
    ErrorFrame,
    MessageFrame,
    RespondFrame,
    ServerFrame,
)

MAX_CURSOR: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
MAX_FOLLOW_UP_ID: Final = 1024
"""Characters. A follow-up's request id comes from its agent, and may hold what no client's may."""
_DECODER: Final[msgspec.json.Decoder[ClientFrame]] = msgspec.json.Decoder(ClientFrame)
_ENCODER: Final = msgspec.json.Encoder()
_WHERE: Final = re.compile(r" - at `\$\.?(.*)`$")
_TYPES: Final = tuple(str(frame.__struct_config__.tag) for frame in CLIENT_FRAMES)


class Limits(Struct, frozen=True):
    """In bytes of UTF-8."""

    frame: int = 1 << 20
    content: int = 256 << 10


DEFAULT_LIMITS: Final = Limits()


class BadFrame(Exception):
    """A frame that is refused; the socket and everyone's state are kept, unless `close` says otherwise."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        path: str | None = None,
        request_id: str | None = None,
        close: CloseCode | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
        """Where in the frame, e.g. `content[0].type`; None: the frame as a whole."""
        self.request_id = request_id
        """Of the frame, where it could be read."""
        self.close = close

    def as_frame(self) -> ErrorFrame:
        return ErrorFrame(
            code=self.code,
            message=self.message,
            retryable=self.code.retryable,
            request_id=self.request_id or UNSET,
            path=self.path or UNSET,
        )


def encode(frame: ServerFrame | ClientFrame) -> str:
    """The frame as JSON text. Its strings must be well-formed: no half surrogate pairs."""
    return _ENCODER.encode(frame).decode()


def decode(frame: str | bytes, limits: Limits = DEFAULT_LIMITS) -> ClientFrame:
    """The frame that a text message holds; `bytes` stands for a binary message, which is never one.

    Unknown fields are ignored, of a repeated key the last one counts. Raises BadFrame only.
    """
    if not isinstance(frame, str):
        raise BadFrame(ErrorCode.BAD_FRAME, "binary frames are not understood; send JSON text")
    if len(frame) > limits.frame or (len(frame) > limits.frame // 4 and _utf8_length(frame) > limits.frame):
        message = f"the frame is longer than {limits.frame} bytes"
        raise BadFrame(ErrorCode.TOO_LONG, message, close=CloseCode.TOO_BIG)
    try:
        decoded: ClientFrame = _DECODER.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        _explain(frame, error)
    try:
        _check(decoded, limits)
    except BadFrame as bad:
        if not isinstance(decoded, AckFrame) and bad.path != "requestId":
            bad.request_id = decoded.request_id
        raise
    return decoded


def _check(frame: ClientFrame, limits: Limits) -> None:
    if isinstance(frame, AckFrame):
        if not 0 <= frame.cursor <= MAX_CURSOR:
            raise BadFrame(ErrorCode.BAD_FRAME, "cursor must be from 0 to 2^53 - 1", path="cursor")
        return
    if isinstance(frame, CancelFrame):
        _check_text(frame.request_id, "requestId")
        if not 1 <= len(frame.request_id) <= MAX_FOLLOW_UP_ID:
            message = "requestId must be that of a `user`, `reset` or `token` frame"
            raise BadFrame(ErrorCode.BAD_FRAME, message, path="requestId")
        return
    if not REQUEST_ID.fullmatch(frame.request_id):
        message = "requestId must be 1 to 128 of A-Z a-z 0-9 _ - . :"
        raise BadFrame(ErrorCode.BAD_FRAME, message, path="requestId")
    if isinstance(frame, MessageFrame):
        _check_content(frame.content, limits.content)
        if frame.replaces is not None and not REQUEST_ID.fullmatch(frame.replaces):
            message = "replaces must be the requestId of an earlier message"
            raise BadFrame(ErrorCode.BAD_FRAME, message, path="replaces")
    elif isinstance(frame, RespondFrame):
        _check_text(frame.interrupt_id, "interruptId")
        _check_value(frame.value, limits.content, "value")


def _check_content(content: Content, limit: int) -> None:
    if isinstance(content, str):
        _check_length(_check_text(content, "content"), limit, "content")
        if not content.strip():
            raise BadFrame(ErrorCode.EMPTY, "content is empty", path="content")
        return
    _check_value(content, limit, "content")
    for index, block in enumerate(content):
        kind = block.get("type")
        if not isinstance(kind, str):
            message = "each content block needs a `type`, a text"
            raise BadFrame(ErrorCode.BAD_FRAME, message, path=f"content[{index}].type")
        if kind == "text" and not isinstance(block.get("text"), str):
            raise BadFrame(ErrorCode.BAD_FRAME, "a text block needs its `text`, a text", path=f"content[{index}].text")
        if block.get("file_id") is not None and not isinstance(block["file_id"], str):
            message = "a `file_id` is a text"
            raise BadFrame(ErrorCode.BAD_FRAME, message, path=f"content[{index}].file_id")
    if all(block["type"] == "text" and not block["text"].strip() for block in content):
        raise BadFrame(ErrorCode.EMPTY, "content is empty", path="content")


def _check_length(encoded: bytes, limit: int, path: str) -> None:
    if len(encoded) > limit:
        message = f"{path} is {len(encoded)} bytes of UTF-8 long; the limit is {limit}"
        raise BadFrame(ErrorCode.TOO_LONG, message, path=path)


def _check_text(text: str, path: str) -> bytes:
    if "\x00" in text:
        _refuse(HOLDS_NUL, path)
    return text.encode()


def _check_value(value: Any, limit: int, path: str) -> None:
    """Its length before anything that is slow."""
    try:
        _check_length(_ENCODER.encode(value), limit, path)
    except RecursionError:
        _refuse(TOO_DEEP, path)
    if (fault := fault_of(value)) is not None:
        _refuse(fault, path)


def _refuse(fault: str, path: str) -> NoReturn:
    raise BadFrame(ErrorCode.BAD_FRAME, f"{path} {fault}", path=path) from None


def _explain(frame: str, error: Exception) -> NoReturn:
    """Why the decoder refused a frame. May be slow: it runs only for frames that are counted against the peer."""
    if isinstance(error, RecursionError):
        raise BadFrame(ErrorCode.BAD_FRAME, "the frame is nested too deeply") from None
    try:
        value = json.loads(frame, parse_constant=_no_constant)
    except json.JSONDecodeError:
        raise BadFrame(ErrorCode.BAD_JSON, "the frame is not JSON") from None
    except (ValueError, RecursionError):  # JSON, but with an integer of 5,000 digits, or nested
        message, path = _located(error)
        raise BadFrame(ErrorCode.BAD_FRAME, message, path=path) from None
    if not isinstance(value, dict):
        raise BadFrame(ErrorCode.BAD_FRAME, "a frame is a JSON object") from None
    request_id = value.get("requestId")
    if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
        request_id = None
    kind = value.get("type")
    if isinstance(kind, str) and kind not in _TYPES:
        shown = kind[:40].encode("ascii", "backslashreplace").decode()
        message = f"there is no frame type {shown!r}; there are {', '.join(_TYPES)}"
        raise BadFrame(ErrorCode.UNKNOWN_TYPE, message, path="type", request_id=request_id) from None
    if not isinstance(error, msgspec.ValidationError):
        message = "the frame holds half a surrogate pair"
        raise BadFrame(ErrorCode.BAD_FRAME, message, request_id=request_id) from None
    message, path = _located(error)
    raise BadFrame(ErrorCode.BAD_FRAME, message, path=path, request_id=request_id) from None


def _located(error: Exception) -> tuple[str, str | None]:
    message = str(error)
    where = _WHERE.search(message)
    if where is None:
        return message, None
    return message[: where.start()], where.group(1) or None


def _no_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError("not JSON", name, 0)


def _utf8_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
