"""One connection to a broker, from its beginning to its loss: whoever wants another makes it anew.

The library's own reconnecting is not used: it stops for good on some of the broker's refusals, and ends half-way where
its buffers are full and the broker takes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from unbroken.adapters.carried_hints import until_ended

log = logging.getLogger(__name__)

PORT: Final = 4222
CONNECT_S: Final = 5.0
PING_S: Final = 5.0
"""Between two looks whether the broker still answers."""
PENDING_BYTES: Final = 1 << 20
"""Written and not yet taken by the system, before whoever publishes waits."""
CLOSE_S: Final = 0.5
TROUBLE: Final = (nats.errors.Error, OSError, TimeoutError, RuntimeError)
"""What a call of the library may raise when the world is to blame. uvloop's word for a transport that has just been
closed is RuntimeError."""


class BrokerConnection:
    """Raises one of TROUBLE where the broker cannot be reached, or is lost."""

    def __init__(self, urls: Sequence[str], name: str) -> None:
        self._urls = [_with_port(url) for url in urls]
        self._name = name
        self._client = _Client(tls_only=any(url.startswith("tls://") for url in urls))

    async def open(self, subscriptions: dict[str, Callable[[bytes], None]]) -> None:
        """`subscriptions`: subject → what takes its messages, on the event loop. They are in force on return."""
        async with asyncio.timeout(CONNECT_S):
            await self._client.connect(
                servers=self._urls,
                name=self._name,
                no_echo=True,
                allow_reconnect=False,
                connect_timeout=int(CONNECT_S),
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                pending_size=PENDING_BYTES,
                flush_timeout=PING_S,
                ping_interval=3600,  # `answers` does it
                error_cb=_note,
                closed_cb=self._client.end,
                tls=ssl.create_default_context() if self._client.tls_only else None,
            )
            self._client.end_with_its_tasks()
            for subject, take in subscriptions.items():
                await self._client.subscribe(subject, cb=_taking(take))
            await self._client.flush()

    @property
    def most_bytes(self) -> int:
        """Of one message."""
        return self._client.max_payload

    @property
    def alive(self) -> bool:
        return self._client.is_connected and not self._client.lost.is_set()

    async def publish(self, subject: str, payload: bytes) -> None:
        """It leaves soon, or is lost with the connection."""
        await self._client.publish(subject, payload)

    async def until_lost(self) -> None:
        """The broker is asked from time to time whether it is there: one that was cut off says nothing."""
        while self.alive:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._client.lost.wait(), PING_S)
                return
            if self.alive:
                await self._client.flush(timeout=int(PING_S))

    async def flush(self) -> None:
        """Until the broker has taken what was published."""
        await self._client.flush(timeout=int(PING_S))

    def give_up(self) -> None:
        """Something went wrong: let `until_lost` return."""
        self._client.lost.set()

    async def close(self) -> None:
        """Nothing of it is left on return: no task, no socket; whether or not the broker takes anything."""
        try:
            await asyncio.wait_for(self._client.close(), CLOSE_S)
        except Exception as error:  # noqa: BLE001 (whatever it was, nothing of the connection may stay)
            log.debug("while the broker's connection was closed: %r", error)
        finally:
            await self._client.cut_off()


class _Client(Client):
    """Tells of its loss, and leaves what follows from that to `BrokerConnection`."""

    def __init__(self, *, tls_only: bool) -> None:
        super().__init__()
        self.tls_only = tls_only
        self.lost = asyncio.Event()

    async def end(self) -> None:
        self.lost.set()

    def end_with_its_tasks(self) -> None:
        """Whoever may write to the broker can end the library's reading by one message that it cannot take apart, and
        its asking whether the broker is there succeeds then without asking."""
        for task in (self._reading_task, self._flusher_task):
            if task is not None:
                task.add_done_callback(lambda _: self.lost.set())

    async def _process_op_err(self, e: Exception) -> None:
        log.debug("the broker is lost: %s", e)
        self.lost.set()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Before anything is told to the broker, the password above all. The library would do without TLS."""
        if self.tls_only and not info.get("tls_required"):
            raise nats.errors.Error("the broker does not offer TLS, and its URL begins with tls://")
        await super()._process_info(info, initial_connection)

    async def cut_off(self) -> None:
        """What `close` leaves behind where it is interrupted, or was begun by one of the tasks it ends."""
        tasks = [self._reading_task, self._ping_interval_task, self._flusher_task, self._reconnection_task]
        tasks += [sub._wait_for_msgs_task for sub in self._subs.values()]
        await until_ended([task for task in tasks if task is not None])
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


def _taking(take: Callable[[bytes], None]) -> Callable[[Msg], Awaitable[None]]:
    async def taken(message: Msg) -> None:
        take(message.data)

    return taken


async def _note(error: Exception) -> None:
    log.debug("of the broker's connection: %r", error)


def _with_port(url: str) -> str:
    return url if urlsplit(url).port else f"{url.rstrip('/')}:{PORT}"
