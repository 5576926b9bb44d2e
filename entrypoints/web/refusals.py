"""What a peer is told when a frame cannot be done."""

from __future__ import annotations

from unbroken.domain.errors import (
    AlreadyEnded,
    BodyConflict,
    Busy,
    QueueFull,
    ThreadDeleted,
    Unavailable,
    UnbrokenError,
    UnknownFile,
    UnknownRequest,
)
from unbroken.entrypoints.web.codec import BadFrame
from unbroken.entrypoints.web.frames import ErrorCode, ErrorFrame


def refusal(error: UnbrokenError, request_id: str) -> BadFrame:
    """The answer to a frame of `request_id` that ended in `error`."""
    match error:
        case BodyConflict():
            return BadFrame(ErrorCode.CONFLICT, str(error), path="requestId", request_id=request_id)
        case ThreadDeleted():
            return BadFrame(ErrorCode.THREAD_DELETED, str(error), request_id=request_id)
        case UnknownRequest():
            return BadFrame(ErrorCode.UNKNOWN_REQUEST, str(error), path="requestId", request_id=request_id)
        case UnknownFile():
            return BadFrame(ErrorCode.UNKNOWN_FILE, str(error), path="content", request_id=request_id)
        case AlreadyEnded():
            return BadFrame(ErrorCode.ALREADY_ENDED, str(error), request_id=request_id)
        case QueueFull():
            return BadFrame(ErrorCode.QUEUE_FULL, str(error), request_id=request_id)
        case Busy():
            return BadFrame(ErrorCode.BUSY, str(error), request_id=request_id)
        case Unavailable():
            message = "it could not be stored now; send it again with the same requestId"
            return BadFrame(ErrorCode.UNAVAILABLE, message, request_id=request_id)
        case _:
            return BadFrame(ErrorCode.BAD_FRAME, str(error), request_id=request_id)


def too_fast() -> ErrorFrame:
    return BadFrame(ErrorCode.TOO_FAST, "frames come too fast; this one was not read").as_frame()
