"""One socket: a reader that takes frames one after another, a sender that pulls what the session says.

The two share nothing but the receipts' queue and the request on its way. A frame of a request never
overtakes its receipt: the sender waits at the request's `user` until the accept has come back (rule 7).

Most connections are idle most of the time. So what one holds is made when it is needed; and what ended one, an
exception whose traceback holds everything, is held by nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from unbroken.application.accept_event import AcceptEvent
from unbroken.application.acknowledge import Acknowledge
from unbroken.application.cancel import Cancel
from unbroken.application.deliveries import Delivery, ShowLogged, ShowStep, ShowText, ShowUser
from unbroken.application.log_context import working_for
from unbroken.application.subscribe import Subscription
from unbroken.domain.errors import AckAhead, BodyConflict, CommitUnknown, NotYourThread, ThreadDeleted, UnbrokenError
from unbroken.domain.events import Event, EventBody, InputResponse, UserMessage, WhenBusy, body_hash
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.web.abuse import AbuseCounter
from unbroken.entrypoints.web.codec import BadFrame, Limits, decode, encode
from unbroken.entrypoints.web.frames import (
    AcceptedFrame,
    AckFrame,
    CancelFrame,
    CancellingFrame,
    ClientFrame,
    CloseCode,
    ErrorCode,
    MessageFrame,
    RespondFrame,
    ServerFrame,
)
from unbroken.entrypoints.web.legacy import LegacyView
from unbroken.entrypoints.web.pace import Pace
from unbroken.entrypoints.web.rate import Rate
from unbroken.entrypoints.web.refusals import refusal, too_fast
from unbroken.entrypoints.web.rendering import frame_of
from unbroken.entrypoints.web.user_limits import Allowance

log = logging.getLogger(__name__)

LOST_RACES: Final = frozenset({ErrorCode.ALREADY_ENDED, ErrorCode.THREAD_DELETED})
"""What an honest client is told when somebody else was faster."""
NOBODYS: Final[frozenset[str | None]] = frozenset()
Said = UserMessage | InputResponse
Admit = Callable[[Said, WhenBusy | None], Awaitable[Said]]
"""What is said, with what is known of the user who says it. Raises Closed: it may not be said any more."""
MayCancel = Callable[[str], Awaitable[None]]
"""Asked with the request that is to be cancelled. Raises BadFrame: it may not be."""


class Closed(Exception):
    """End this connection with a code of ours."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Connection:
    __slots__ = (
        "_abuse",
        "_accept",
        "_acknowledge",
        "_admit",
        "_allowance",
        "_cancel",
        "_end",
        "_in_doubt",
        "_key",
        "_legacy",
        "_limits",
        "_may_cancel",
        "_on_its_way",
        "_over",
        "_pace",
        "_rate",
        "_receipts",
        "_settled",
        "_socket",
        "_subscription",
        "_to_be_shown",
        "sending_since",
    )

    def __init__(
        self,
        socket: WebSocket[Any, Any, Any],
        key: SessionKey,
        subscription: Subscription,
        *,
        accept: AcceptEvent,
        cancel: Cancel,
        acknowledge: Acknowledge,
        limits: Limits,
        frames_per_s: float,
        allowance: Allowance,
        pace: Pace,
        legacy: bool,
        admit: Admit | None = None,
        may_cancel: MayCancel | None = None,
    ) -> None:
        """`admit`, `may_cancel`: asked before anything that the user says is accepted; None: nobody has to be."""
        self._socket = socket
        self._key = key
        self._subscription = subscription
        self._accept = accept
        self._cancel = cancel
        self._acknowledge = acknowledge
        self._admit = admit
        self._may_cancel = may_cancel
        self._limits = limits
        self._abuse = AbuseCounter()
        self._rate = Rate(per_s=frames_per_s)
        self._allowance = allowance
        self._pace = pace
        self._legacy = LegacyView() if legacy else None
        self._receipts: list[ServerFrame] = []
        self._to_be_shown: frozenset[str | None] = NOBODYS
        """Requests whose `user` is about to be sent."""
        self._on_its_way: str | None = None
        """The request whose receipt has not come back from the store."""
        self._in_doubt: dict[str, EventBody] = {}
        """Requests that may be stored, with what was said here."""
        self._settled: asyncio.Event | None = None
        """Of those who wait for that receipt."""
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._end: BaseException | None = None
        """What ended the connection; None: the client left."""
        self.sending_since: float | None = None
        """Monotonic time at which the write under way began; None: nothing waits for the reader's bytes."""

    async def run(self) -> None:
        """Until the client leaves. Raises Closed, or what `Subscription.next` does.

        The reader is cancelled between two frames only: an accept that has begun is also handed to the queue.
        """
        await self._until_over()
        end, self._end = self._end, None
        if end is not None and not isinstance(end, WebSocketDisconnect):  # the client left while something was sent
            try:
                raise end
            finally:
                del end

    async def _until_over(self) -> None:
        sender = asyncio.create_task(self._send_all())
        reader = asyncio.create_task(self._read_all())
        sender.add_done_callback(self._ended)
        reader.add_done_callback(self._ended)
        try:
            await self._over
        finally:
            sender.cancel()
            while self._on_its_way is not None:
                await self._receipt()
            reader.cancel()
            await asyncio.gather(sender, reader, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._finish(None if task.cancelled() else task.exception())

    def stop(self, reason: Closed) -> None:
        """End this connection from outside."""
        self._finish(reason)

    def _finish(self, end: BaseException | None) -> None:
        if not self._over.done():
            self._end = end
            self._over.set_result(None)

    def presented(self, cursor: int) -> None:
        """The client has said where it stands; a cursor that was never handed out counts for nothing."""
        if cursor <= self._subscription.log_index:
            self._acknowledge.acked(self._key, cursor)

    async def _read_all(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            message = await self._socket.receive()
            if message["type"] != "websocket.receive":
                return
            text = message.get("text")
            data = text if text is not None else message.get("bytes") or b""
            try:
                if not self._rate.admits(clock()):
                    self._answer(too_fast())
                    if self._abuse.too_fast(clock()):
                        raise Closed(CloseCode.TOO_MANY, "too many frames")
                    continue
                await self._handle(decode(data, self._limits))
            except BadFrame as bad:
                if bad.close is not None:
                    raise Closed(bad.close, bad.message) from bad
                self._answer(bad.as_frame())
                if bad.code.kind == "refused" and bad.code not in LOST_RACES and self._abuse.bad(clock()):
                    raise Closed(CloseCode.TOO_MANY, "too many bad frames") from bad

    async def _handle(self, frame: ClientFrame) -> None:
        match frame:
            case MessageFrame():
                await self._message(frame)
            case AckFrame(cursor):
                self._ack(cursor)
            case RespondFrame(request_id, interrupt_id, value):
                await self._take(request_id, InputResponse(interrupt_id, value))
            case CancelFrame(request_id):
                await self._stop_turn(request_id)

    async def _message(self, frame: MessageFrame) -> None:
        request_id = frame.request_id
        if frame.thread_id is not None and frame.thread_id != self._key.thread_id:
            message = f"this socket speaks for thread {self._key.thread_id!r}"
            raise BadFrame(ErrorCode.WRONG_THREAD, message, path="threadId", request_id=request_id)
        await self._take(request_id, UserMessage(frame.content, frame.replaces), frame.when_busy)

    async def _take(self, request_id: str, body: Said, when_busy: WhenBusy | None = None) -> None:
        with self._receipt_of(request_id):
            await self._check_allowance(request_id)
            if self._admit is not None:
                body = await self._admit(body, when_busy)
            try:
                receipt = await self._accept(self._key, request_id, body, when_busy=when_busy)
            except CommitUnknown:
                self._in_doubt[request_id] = body
                raise
            self._in_doubt.pop(request_id, None)
            self._answer(AcceptedFrame(request_id=request_id, seq=receipt.event.seq, duplicate=receipt.duplicate))

    async def _check_allowance(self, request_id: str) -> None:
        if not self._allowance.message(asyncio.get_running_loop().time()):
            raise BadFrame(ErrorCode.TOO_FAST, "too many messages in a minute", request_id=request_id)
        if not self._subscription.stored and not await self._allowance.thread():
            raise BadFrame(ErrorCode.TOO_MANY_THREADS, "delete a thread first", request_id=request_id)

    async def _stop_turn(self, request_id: str) -> None:
        with self._receipt_of(request_id):
            if self._may_cancel is not None:
                await self._may_cancel(request_id)
            await self._cancel(self._key, request_id)
            self._answer(CancellingFrame(request_id=request_id))

    @contextmanager
    def _receipt_of(self, request_id: str) -> Iterator[None]:
        """Whatever else the session says of this request waits until its receipt, or its refusal, is known."""
        self._on_its_way = request_id
        try:
            with working_for(session=str(self._key), request=request_id):
                yield
        except NotYourThread as error:
            raise Closed(CloseCode.NOT_YOUR_THREAD, str(error)) from error
        except UnbrokenError as error:
            raise refusal(error, request_id) from error
        finally:
            self._on_its_way = None
            if self._settled is not None:
                self._settled.set()
                self._settled = None

    async def _receipt(self) -> None:
        """Until that of the request on its way has come back; the next one may be on its way by then."""
        self._settled = self._settled or asyncio.Event()
        await self._settled.wait()

    def _ack(self, cursor: int) -> None:
        if self._legacy:
            self._legacy = None
        try:
            self._acknowledge.acked(self._key, cursor)
        except AckAhead as error:
            raise BadFrame(ErrorCode.ACK_AHEAD, str(error), path="cursor") from error

    def _answer(self, frame: ServerFrame) -> None:
        self._receipts.append(frame)
        self._subscription.interrupt()

    async def _send_all(self) -> None:
        try:
            while True:
                deliveries = await self._subscription.next()
                if users := [one.event.request_id for one in deliveries if isinstance(one, ShowUser)]:
                    self._to_be_shown = frozenset(users)
                await self._send_receipts()
                for delivery in deliveries:
                    await self._deliver(delivery)
                await self._send_receipts()
                if deliveries and isinstance(deliveries[-1], ShowText | ShowStep):
                    self._rest()
        except ThreadDeleted as error:
            await self._send(BadFrame(ErrorCode.THREAD_DELETED, str(error)).as_frame())
            raise Closed(CloseCode.NOT_YOUR_THREAD, str(error)) from error

    def _rest(self) -> None:
        seconds = self._pace.rest_s(asyncio.get_running_loop().time())
        if seconds:
            self._subscription.rest(seconds)

    async def _deliver(self, delivery: Delivery) -> None:
        if isinstance(delivery, ShowUser):
            await self._receipt_first(delivery.event)
        elif isinstance(delivery, ShowLogged):
            await self._receipt_first(delivery.entry.event)
        await self._send_receipts()
        if (frame := frame_of(delivery)) is not None:
            await self._send(frame)
        if isinstance(delivery, ShowUser):
            self._to_be_shown -= {delivery.event.request_id}
        elif isinstance(delivery, ShowLogged):
            self._acknowledge.sent(self._key, delivery.entry.log_index)

    async def _receipt_first(self, event: Event) -> None:
        while event.request_id == self._on_its_way:
            await self._receipt()
        said = self._in_doubt.pop(event.request_id, None)
        if said is not None and body_hash(said) == body_hash(event.body):
            # Whose sending it was that got through, this socket's or an earlier one's, nobody knows.
            self._receipts.append(AcceptedFrame(request_id=event.request_id, seq=event.seq, duplicate=True))
        elif said is not None:
            conflict = BodyConflict(event.request_id, event.seq)
            self._receipts.append(refusal(conflict, event.request_id).as_frame())

    async def _send_receipts(self) -> None:
        """A cancel may be accepted before this socket has shown what it cancels; its `user` comes first (rule 6)."""
        while self._receipts:
            first = self._receipts[0]
            if isinstance(first, CancellingFrame) and first.request_id in self._to_be_shown:
                return
            await self._send(self._receipts.pop(0))

    async def _send(self, frame: ServerFrame) -> None:
        if self._legacy and not self._legacy.admits(frame):
            return
        self.sending_since = asyncio.get_running_loop().time()
        await self._socket.send({"type": "websocket.send", "text": encode(frame), "bytes": None})
        self.sending_since = None
