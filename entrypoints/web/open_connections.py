"""The connections of one process that stay open, whatever is spoken over them: how each ends that does not end by
itself. Its reader takes nothing, its user's time is over, the project's rules let the user look no longer, or the
server stops.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, Protocol

from msgspec import Struct

from unbroken.domain.errors import Unavailable
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode

log = logging.getLogger(__name__)

RESTARTING: Final = "the server is stopping; what was said is kept"
LONGEST_S: Final = 365 * 86_400.0
"""Nobody stays connected for longer; a timer for the end of time would be none."""

Look = Callable[[], Awaitable[object]]
"""Whether the user may look on. Raises Closed: no."""


class OpenConnection(Protocol):
    @property
    def sending_since(self) -> float | None:
        """Monotonic time at which the write under way began; None: nothing waits for the reader's bytes."""

    def stop(self, reason: Closed) -> None:
        """End it from outside; once it ends, nothing."""


class _Watch(Struct):
    expiry: asyncio.TimerHandle | None = None
    asking: asyncio.Task[None] | None = None


class OpenConnections:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._open: dict[OpenConnection, _Watch] = {}
        """In the order in which they came."""

    def __len__(self) -> int:
        return len(self._open)

    def refuse_if_stopping(self) -> None:
        """Raises Closed."""
        if self._service.stopping:
            raise Closed(CloseCode.RESTARTING, RESTARTING)

    def opened(self, connection: OpenConnection, until: float, look: Look | None = None) -> None:
        """`closed` must follow. `until`: when its user's time is over, as seconds since the epoch. `look`: asked again
        and again; None: nobody has to be. One that comes when the server stops is stopped."""
        watch = self._open[connection] = _Watch()
        if until < inf:
            left_s = min(max(0.0, until - time.time()), LONGEST_S)
            watch.expiry = asyncio.get_running_loop().call_later(left_s, _expire, connection)
        if look is not None:
            every_s = self._service.settings.ask_again_s
            watch.asking = asyncio.create_task(_ask_again_forever(look, connection.stop, every_s))
        if self._service.stopping:
            connection.stop(Closed(CloseCode.RESTARTING, RESTARTING))

    def closed(self, connection: OpenConnection) -> None:
        watch = self._open.pop(connection)
        if watch.expiry is not None:
            watch.expiry.cancel()
        if watch.asking is not None:
            watch.asking.cancel()

    def send_away(self) -> None:
        """End every one, so that its client comes again; whoever comes now is told the same once the service stops."""
        for connection in list(self._open):
            connection.stop(Closed(CloseCode.RESTARTING, RESTARTING))

    async def close_stalled_forever(self) -> None:
        """End the connections whose readers take nothing. One look at all of them costs less than a timer a write."""
        limit_s = self._service.settings.reader_stall_s
        while True:
            await asyncio.sleep(min(1.0, limit_s / 4))
            self._close_stalled(limit_s)

    def _close_stalled(self, limit_s: float) -> None:
        """Apart from the loop, whose variables would keep the last such connection and its session for ever."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._open):
            if connection.sending_since is not None and now - connection.sending_since > limit_s:
                connection.stop(Closed(CloseCode.OVERLOADED, f"nothing was read for {limit_s:g} s"))


def _expire(connection: OpenConnection) -> None:
    connection.stop(Closed(CloseCode.NOT_AUTHENTICATED, "the token has expired"))


async def _ask_again_forever(look: Look, stop: Callable[[Closed], None], every_s: float) -> None:
    """A token runs out, a user is shut out, a thread is moved to where they may not look: whoever listens has to be
    told no more of it. A store that does not answer says nothing of that."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await look()
        except Unavailable:
            continue
        except Closed as end:
            stop(end)
            return
        except Exception:
            log.exception("a project's auth failed over an open connection")
            stop(Closed(CloseCode.NOT_AUTHENTICATED, "authentication failed"))
            return
