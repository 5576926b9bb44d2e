"""The protocol over one WebSocket: commands in band, and events of as many subscriptions as are wanted.

As with the chat socket: a reader that takes commands one after another, and a sender that pulls what the session says;
the two share the responses' queue and the feed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from msgspec import Struct

from unbroken.domain.errors import NotYourThread, ThreadDeleted, Unavailable
from unbroken.domain.ports.identity import User
from unbroken.entrypoints.agent_protocol.codec import Bad, check_filter, decode_command, encode
from unbroken.entrypoints.agent_protocol.streams import Streams
from unbroken.entrypoints.agent_protocol.wire import (
    Command,
    ErrorCode,
    Event,
    EventStreamRequest,
    Failure,
    Filter,
    Reconnect,
    Success,
    Unsubscribe,
)
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.web.abuse import AbuseCounter
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.rate import Rate

MAX_SUBSCRIPTIONS: Final = 256
MAX_UNREAD: Final = 256
"""Responses that a client may leave unread: then it is not asked for more."""
NO_STORE: Final = "the store does not answer; reconnect with backoff"


class ProtocolSocket:
    def __init__(self, socket: WebSocket[Any, Any, Any], streams: Streams, user: User, thread_id: str) -> None:
        self._socket = socket
        self._streams = streams
        self._feed = streams.feed(user, thread_id)
        self._commands = streams.commands(user, thread_id, self._subscribing)
        self._abuse = AbuseCounter()
        self._rate = Rate(per_s=streams.service.settings.frames_per_s)
        self._responses: list[Success | Failure] = []
        self._read = asyncio.Event()
        """The responses were sent."""
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._end: BaseException | None = None
        self.sending_since: float | None = None

    def stop(self, reason: Closed) -> None:
        self._finish(reason)

    async def run(self) -> None:
        """Until the client leaves. Raises Closed."""
        sender = asyncio.create_task(self._send_all())
        reader = asyncio.create_task(self._read_all())
        for task in (sender, reader):
            task.add_done_callback(lambda done: self._finish(None if done.cancelled() else done.exception()))
        try:
            await self._over
        finally:
            sender.cancel()
            reader.cancel()
            await asyncio.gather(sender, reader, return_exceptions=True)
            self._feed.close()
        end, self._end = self._end, None
        try:
            if isinstance(end, NotYourThread | ThreadDeleted):
                raise Closed(CloseCode.NOT_YOUR_THREAD, str(end)) from end
            if isinstance(end, Unavailable):
                raise Closed(CloseCode.OVERLOADED, NO_STORE) from end
            if end is not None and not isinstance(end, WebSocketDisconnect):
                raise end
        finally:
            del end

    def _finish(self, end: BaseException | None) -> None:
        if not self._over.done():
            self._end = end
            self._over.set_result(None)

    async def _read_all(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            message = await self._socket.receive()
            if message["type"] != "websocket.receive":
                return
            text = message.get("text")
            frame = text if text is not None else message.get("bytes") or b""
            if not self._rate.admits(clock()):
                self._answer(Failure(None, ErrorCode.UNKNOWN_ERROR, "too many commands; slow down, then send it again"))
                if self._abuse.too_fast(clock()):
                    raise Closed(CloseCode.TOO_MANY, "too many commands")
                continue
            answer = await self._handle(frame)
            self._answer(answer)
            if isinstance(answer, Failure) and answer.error in _BAD and self._abuse.bad(clock()):
                raise Closed(CloseCode.TOO_MANY, "too many bad commands")
            while len(self._responses) >= MAX_UNREAD:
                self._read.clear()
                await self._read.wait()

    async def _handle(self, frame: str | bytes) -> Success | Failure:
        """A command that has begun is also finished: what it accepted is handed to the queue."""
        try:
            command = decode_command(frame)
        except Bad as bad:
            return bad.as_response()
        return await asyncio.shield(self._commands(command))

    def _subscribing(self, command: Command, params: Struct) -> Any:
        match params:
            case EventStreamRequest(channels, namespaces, depth, since):
                return self._subscribe(new_id(), Filter(channels, namespaces, depth), since)
            case Unsubscribe(subscription_id):
                if not self._feed.remove(subscription_id):
                    raise Bad(ErrorCode.NO_SUCH_SUBSCRIPTION, f"there is no subscription {subscription_id[:40]!r} here")
                return {}
            case Reconnect():
                return self._reconnect(params)
        raise AssertionError(f"{command.method} is not about subscriptions")

    def _subscribe(self, name: str, wanted: Filter, since: int | None) -> dict[str, Any]:
        if len(self._feed) >= MAX_SUBSCRIPTIONS and name not in self._feed:
            raise Bad(ErrorCode.INVALID_ARGUMENT, f"a socket has at most {MAX_SUBSCRIPTIONS} subscriptions")
        self._feed.add(name, wanted, since)
        return {"subscription_id": name}

    def _reconnect(self, params: Reconnect) -> dict[str, Any]:
        """Nothing is ever missed: what has ended is in the log, and what runs is told from where the client stands."""
        if params.channels is not None:
            wanted = Filter(params.channels, params.namespaces, params.depth)
            check_filter(EventStreamRequest(params.channels, params.namespaces, params.depth, params.since))
            name = params.subscription_id or new_id()
            return self._subscribe(name, wanted, params.since) | {"restored": True, "missed_events": 0}
        known = all(name in self._feed for name in params.subscriptions or ())
        return {"restored": known, "missed_events": 0}

    def _answer(self, response: Success | Failure) -> None:
        self._responses.append(response)
        self._feed.interrupt()

    async def _send_all(self) -> None:
        while True:
            await self._send_responses()
            events = await self._feed.next()
            await self._send_responses()
            for event in events:
                await self._send(event)
            if events and events[-1].method == "messages":
                self._rest()

    def _rest(self) -> None:
        seconds = self._streams.pace.rest_s(asyncio.get_running_loop().time())
        if seconds:
            self._feed.rest(seconds)

    async def _send_responses(self) -> None:
        while self._responses:
            await self._send(self._responses.pop(0))
        self._read.set()

    async def _send(self, message: Success | Failure | Event) -> None:
        self.sending_since = asyncio.get_running_loop().time()
        await self._socket.send({"type": "websocket.send", "text": encode(message).decode(), "bytes": None})
        self.sending_since = None


_BAD: Final = frozenset({ErrorCode.INVALID_ARGUMENT, ErrorCode.UNKNOWN_COMMAND})
