"""A chat client over WebSocket: keeps a conversation true through lost sockets, restarts and refusals for now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Self
from uuid import uuid4

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from unbroken.entrypoints.client.address import is_loopback, socket_url
from unbroken.entrypoints.client.backoff import Backoff
from unbroken.entrypoints.client.history import NoHistory, fetch_page
from unbroken.entrypoints.client.reducer import Conversation, Start
from unbroken.entrypoints.client.rest import Rest
from unbroken.entrypoints.client.turn import Frame, Turn
from unbroken.entrypoints.web.frames import CloseCode

MAX_FRAME: Final = 64 << 20
Status = Literal["connecting", "connected", "waiting", "closed"]
OnFrame = Callable[[dict[str, Any], Conversation], None]
OnStatus = Callable[[Status, str], None]


class ChatClosed(Exception):
    """The server will not have this client back: `code` and `reason` say why, `advice` what to do."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        known = CloseCode.of(code)
        self.advice = known.advice if known else ""
        super().__init__(f"{reason or 'the server closed the connection'} ({code})")


class ChatClient:
    """One thread, seen by one client.

    While the context is open, the client stays connected: it resumes where its view stands, sends again what was not
    accepted (same request ids), acknowledges what it presented, and reads what was missed from the history.

    `on_frame` is called with each frame after the conversation took it in; `on_status` when the connection's state
    changes. Both are called from the event loop and must not block.
    """

    def __init__(
        self,
        url: str,
        thread_id: str,
        *,
        agent_id: str | None = None,
        user_id: str | None = None,
        headers: dict[str, str] | None = None,
        start: Start = 0,
        on_frame: OnFrame | None = None,
        on_status: OnStatus | None = None,
        backoff: Backoff | None = None,
        ack_every_s: float = 1.0,
        resend_after_s: float = 10.0,
    ) -> None:
        self.conversation = Conversation(start)
        self.thread_id = thread_id
        self.connections = 0
        """How many sockets were opened so far."""
        self._url = url
        self._headers = headers or {}
        """Sent with the handshake and with every request: who we are, where a server asks for it."""
        self._rest = Rest(url, user_id=user_id, headers=self._headers)
        identity = {"agentId": agent_id, "userId": user_id}
        self._query = {"threadId": thread_id} | {key: value for key, value in identity.items() if value is not None}
        self._legacy = start is None
        self._on_frame = on_frame
        self._on_status = on_status
        self._backoff = backoff or Backoff()
        self._ack_every_s = ack_every_s
        self._resend_after_s = resend_after_s
        self._socket: ClientConnection | None = None
        self._acked = 0
        self._sent_at = 0.0
        self._resend_at: float | None = None
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._reading_history: asyncio.Task[None] | None = None
        self._end: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._stay_connected()), asyncio.create_task(self._keep_up())]
        for task in self._tasks:
            task.add_done_callback(self._died)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop(ChatClosed(CloseCode.NORMAL, "the client was closed"))
        with contextlib.suppress(ConnectionClosed):
            await self._acknowledge()
        tasks = [*self._tasks, *([self._reading_history] if self._reading_history else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def send(
        self, content: str | list[dict[str, Any]], *, request_id: str | None = None, replaces: str | None = None
    ) -> str:
        """Say something, instead of an earlier message if it `replaces` one; returns its request id at once, whether
        or not there is a socket now. Raises ChatClosed."""
        request_id = request_id or uuid4().hex
        options = None if replaces is None else {"replaces": replaces}
        await self._give(self.conversation.send(request_id, content, options))
        return request_id

    async def respond(self, interrupt_id: str, value: Any, *, request_id: str | None = None) -> str:
        """Answer a question; returns the response's own request id. Raises ChatClosed."""
        request_id = request_id or uuid4().hex
        await self._give(self.conversation.respond(request_id, interrupt_id, value))
        return request_id

    async def cancel(self, request_id: str) -> None:
        """Ask to stop a turn. Raises ChatClosed."""
        await self._give(self.conversation.cancel(request_id))

    async def ended(self, request_id: str, timeout: float | None = 60.0) -> Turn:
        """Wait for the end of a turn, or the refusal of its message. Raises TimeoutError, ChatClosed."""
        await self.until(lambda: self._over(request_id), timeout)
        turn = self.conversation.turn(request_id)
        assert turn is not None
        return turn

    async def until(self, holds: Callable[[], bool], timeout: float | None = 60.0) -> None:
        """Wait until `holds()`, asked after each frame and change of status. Raises TimeoutError, ChatClosed."""
        if holds():
            return
        if self._end:
            raise self._end
        future = asyncio.get_running_loop().create_future()
        waiter = (holds, future)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await future
        finally:
            self._waiters.remove(waiter)

    async def closed(self) -> NoReturn:
        """Wait until the server will not have this client back. Raises ChatClosed."""
        await self.until(lambda: False, None)
        raise AssertionError("nothing else ends the wait")

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def drop(self) -> None:
        """Lose the socket as a network does: without a word. The client then reconnects."""
        if self._socket:
            self._socket.transport.abort()

    def _over(self, request_id: str) -> bool:
        turn = self.conversation.turn(request_id)
        return turn is not None and (turn.ended or turn.refused)

    async def _give(self, frame: Frame) -> None:
        if self._end:
            raise self._end
        self._sent_at = asyncio.get_running_loop().time()
        if self._socket:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(msgspec.json.encode(frame).decode())

    async def _give_unsent(self) -> None:
        self._resend_at = None
        for frame in self.conversation.unsent():
            await self._give(frame)

    async def _stay_connected(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._end is None:
            self._tell("connecting", "")
            opened = clock()
            try:
                async with self._connect() as socket:
                    opened = clock()
                    await self._converse(socket)
                    at_once, why = True, "the view is made good"
            except ConnectionClosed as closed:
                at_once, why = self._judge(closed)
            except InvalidStatus as refused:
                status = refused.response.status_code
                if status < 500 and status not in {408, 425, 429}:
                    self._stop(ChatClosed(status, f"the server answered HTTP {status}"))
                at_once, why, opened = False, f"the server answered HTTP {status}", clock()
            except (OSError, TimeoutError, InvalidHandshake) as error:
                at_once, why, opened = False, str(error) or type(error).__name__, clock()
            finally:
                self._socket = None
            if self._end is None:
                pause = self._backoff.after(clock() - opened, at_once=at_once)
                self._tell("waiting", f"{why}; trying again in {pause:.1f} s")
                await asyncio.sleep(pause)

    def _connect(self) -> connect:
        url = socket_url(self._url, self._query | self.conversation.resume())
        proxy: Literal[True] | None = None if is_loopback(self._url) else True
        return connect(
            url,
            additional_headers=self._headers,
            max_size=MAX_FRAME,
            compression=None,
            proxy=proxy,
            open_timeout=10,
            close_timeout=2,
        )

    def _judge(self, closed: ConnectionClosed) -> tuple[bool, str]:
        """Whether to reconnect at once, and why the connection ended; stops the client if it must not come back."""
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "the connection was lost")
        known = CloseCode.of(code)
        reconnects = known.reconnects if known else "backoff"
        if reconnects == "never":
            self._stop(ChatClosed(code, reason))
        return reconnects == "now" or code == 1006, reason or f"closed with {code}"

    async def _converse(self, socket: ClientConnection) -> None:
        """Until the socket closes, or the conversation asks for another one."""
        conversation = self.conversation
        self._socket = socket
        self._acked = conversation.cursor or 0
        conversation.connected()
        self.connections += 1
        self._tell("connected", "")
        await self._give_unsent()
        async for text in socket:
            frame = msgspec.json.decode(text, type=dict[str, Any])
            conversation.apply(frame)
            if frame["type"] == "error" and frame["retryable"] and "cursor" not in frame:
                self._resend_at = asyncio.get_running_loop().time() + self._ack_every_s
            if conversation.missing and self._reading_history is None:
                self._reading_history = asyncio.create_task(self._read_history())
            if self._on_frame:
                self._on_frame(frame, conversation)
            self._wake()
            if conversation.reconnect:
                return
        raise socket.protocol.close_exc

    async def _read_history(self) -> None:
        """All that a gap left out, newest first. Without it the conversation goes on, and says what is missing."""
        try:
            while missing := self.conversation.missing:
                before = missing["until"] + 1
                page = await fetch_page(self._rest, self.thread_id, before=before)
                self.conversation.history(page)
                self._wake()
        except NoHistory as error:
            self._tell("connected", f"the history cannot be read: {error}")
        finally:
            self._reading_history = None

    async def _keep_up(self) -> None:
        """Acknowledge now and then, and send again what got no receipt."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._ack_every_s)
            if self._socket is None:
                continue
            with contextlib.suppress(ConnectionClosed):
                await self._acknowledge()
                lost = clock() - self._sent_at > self._resend_after_s
                if lost or (self._resend_at is not None and clock() >= self._resend_at):
                    await self._give_unsent()

    async def _acknowledge(self) -> None:
        cursor = self.conversation.cursor
        if self._socket and not self._legacy and cursor is not None and cursor > self._acked:
            self._acked = cursor
            await self._socket.send(f'{{"type":"ack","cursor":{cursor}}}')

    def _tell(self, status: Status, why: str) -> None:
        if self._on_status:
            self._on_status(status, why)
        self._wake()

    def _wake(self) -> None:
        for holds, future in self._waiters:
            if not future.done() and holds():
                future.set_result(None)

    def _died(self, task: asyncio.Task[None]) -> None:
        """A fault of our own, or an address that is none: whoever waits must hear of it."""
        if not task.cancelled() and (error := task.exception()):
            self._stop(error)

    def _stop(self, end: BaseException) -> None:
        if self._end is None:
            self._end = end
            for _, future in self._waiters:
                if not future.done():
                    future.set_exception(end)
            self._tell("closed", str(end))
