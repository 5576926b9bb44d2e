"""How long, and for how much, the server listens to a request that does not become one.

The server underneath waits for ever, and keeps every header that comes: whoever sends a byte now and then holds a
descriptor each, and whoever never ends his header holds as much memory as he likes (I12). A request's header must be
complete in `HEADER_S` and within `HEADER_BYTES`; of its body something must come every `BODY_S`.

What a request asks for must be short as well. The framework remembers the last thousand paths and queries, whoever sent
them: with 60 KB of `&a` each, those were two gigabytes, held for as long as the process lives.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEADER_S: Final = 10.0
HEADER_BYTES: Final = 64 << 10
BODY_S: Final = 30.0
TARGET_BYTES: Final = 4 << 10
"""Of path and query: the longest ids and file names there are fit in, with every character escaped."""
TARGET_FIELDS: Final = 32
"""Of the query: each costs far more memory than it has bytes."""


class TargetTooLong(Exception):
    """Raised through the parser, which then refuses the request as it does a malformed one."""


class PatientHttp(HttpToolsProtocol):
    _limit: asyncio.TimerHandle | None = None
    """What ends this connection, unless its peer goes on."""
    _header_bytes = 0
    """Of a header that is not complete."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._give(HEADER_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # the timer would hold all this for its 5 s

    def data_received(self, data: bytes) -> None:
        if self._limit is None and not self._answering:
            self._give(HEADER_S)  # the next request, or line ends that never become one
        self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes > HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's header is too long.")

    @property
    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._limit is None:
            self._give(HEADER_S)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > TARGET_BYTES or self.url.count(b"&") >= TARGET_FIELDS:
            raise TargetTooLong

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._give(BODY_S)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._header_bytes = 0
        self._give(BODY_S)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._rest()

    def handle_websocket_upgrade(self) -> None:
        self._rest()
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment] # the two refer to each other, and nobody else to them any more

    def _give(self, seconds: float) -> None:
        self._rest()
        self._limit = self.loop.call_later(seconds, self._end)

    def _rest(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        self._header_bytes = 0

    def _end(self) -> None:
        self._limit = None
        if self.flow.read_paused:  # it is us who do not take it
            self._give(BODY_S)
        else:
            self.transport.close()
