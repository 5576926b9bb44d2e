"""The one place where errors of the driver and of the database become ours.

    not sent, or surely rolled back        StoreUnavailable
    sent, and the answer was lost          CommitUnknown for a write, StoreUnavailable for a read
    raised by a stored function (UBnnn)    the error of the tree that it stands for
    a value that the database cannot hold  InvalidValue
    a constraint that cannot break         AssertionError: a defect of ours

Whatever the server reports as an error was rolled back; only a connection that ends leaves a doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import asyncpg

from unbroken.domain.errors import (
    AlreadyEnded,
    BodyConflict,
    Busy,
    CancelRequested,
    CommitUnknown,
    Fenced,
    InvalidValue,
    NotYourThread,
    QueueFull,
    StoreUnavailable,
    ThreadDeleted,
    TimerGone,
    TooManyFiles,
    UnbrokenError,
    UnknownRequest,
)

DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""Everything that a call of the driver may raise when the world is to blame."""

RAISED: Final[dict[str, Callable[[asyncpg.PostgresError], UnbrokenError]]] = {
    "UB001": lambda error: NotYourThread(_detail(error)),
    "UB002": lambda error: ThreadDeleted(_detail(error)),
    "UB003": lambda error: BodyConflict(_detail(error), int(getattr(error, "hint", None) or 0)),
    "UB004": lambda error: QueueFull(int(_detail(error))),
    "UB005": lambda error: TimerGone(_detail(error)),
    "UB006": lambda error: Fenced(_message(error)),
    "UB007": lambda error: CancelRequested("rollback" if _detail(error) == "rollback" else "cancel"),
    "UB008": lambda error: Busy(),
    "UB009": lambda error: UnknownRequest(_detail(error)),
    "UB010": lambda error: AlreadyEnded(_detail(error)),
    "UB011": lambda error: TooManyFiles(int(_detail(error))),
    "UB012": lambda error: InvalidValue(_detail(error), _message(error)),
}

UNFIT_SCHEMA: Final = ("42883", "42P01", "42703", "3F000")
TRY_AGAIN: Final = ("57P01", "57P02", "57P03", "53300")
"""The server is going down, coming up, or has no connection left."""


def translated(error: Exception, *, writes: bool) -> Exception:
    """What to raise instead of `error`, which a statement raised after it was handed to a live connection.

    `writes`: whether the statement may have changed something if it got through.
    """
    if isinstance(error, asyncpg.DataError | asyncpg.UnsupportedClientFeatureError) or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    ):
        return InvalidValue("value", _message(error))
    if isinstance(error, asyncpg.PostgresError):
        return _from_server(error, writes)
    if isinstance(error, asyncpg.InterfaceError):
        return StoreUnavailable(f"the connection was lost before anything was sent: {_message(error)}")
    return _lost(error, writes)


def unreachable(error: Exception, where: str = "") -> StoreUnavailable:
    """What to raise instead of `error`, which came before any statement was sent. `where`: the server's address."""
    database = f"the database at {where}" if where else "the database"
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"no connection to {database} within the time allowed")
    return StoreUnavailable(f"cannot reach {database}: {_message(error)}")


def may_pass(error: Exception) -> bool:
    """Whether connecting again in a moment may help: the server restarts, or has no room just now."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state in TRY_AGAIN or state.startswith("08")  # the driver's own: the server went away while it connected
    return isinstance(error, OSError | asyncpg.InterfaceError) and not isinstance(error, TimeoutError | ValueError)


def _from_server(error: asyncpg.PostgresError, writes: bool) -> Exception:
    state = error.sqlstate or ""
    if state in RAISED:
        return RAISED[state](error)
    if state.startswith("08") or state in TRY_AGAIN or getattr(error, "severity", "ERROR") in ("FATAL", "PANIC"):
        return _lost(error, writes)
    if state.startswith(("22", "54")):  # 54: nested too deeply, or too large
        return InvalidValue("value", _message(error))
    if state.startswith(("21", "23")) or state == "P0004":
        return AssertionError(" ".join(str(error).split()))
    if state in UNFIT_SCHEMA:
        return StoreUnavailable(
            f"the database's schema is not this version's, run `unbroken migrate`: {_message(error)}"
        )
    return StoreUnavailable(f"the database refused, nothing was written: {_message(error)}")


def _lost(error: Exception, writes: bool) -> UnbrokenError:
    reason = _message(error)
    if writes:
        return CommitUnknown(f"the database's answer was lost: {reason}")
    return StoreUnavailable(f"the database did not answer: {reason}")


def _message(error: Exception) -> str:
    """One line."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def _detail(error: asyncpg.PostgresError) -> str:
    return str(getattr(error, "detail", None) or "")
