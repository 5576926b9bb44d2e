"""The protocol's events over server-sent events: one subscription, as long as the response lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from litestar import Response

from unbroken.domain.ports.identity import User
from unbroken.entrypoints.agent_protocol.codec import sse
from unbroken.entrypoints.agent_protocol.feed import Feed
from unbroken.entrypoints.agent_protocol.streams import Streams
from unbroken.entrypoints.agent_protocol.wire import EventStreamRequest, Filter
from unbroken.entrypoints.langgraph_api.ruled import looking
from unbroken.entrypoints.web.event_stream import HEADERS, HEARTBEAT, Streamed
from unbroken.entrypoints.web.pace import Pace


class EventStream(Response[None]):
    """What a handler returns for a reader who was admitted."""

    def __init__(self, streams: Streams, user: User, thread_id: str, request: EventStreamRequest) -> None:
        super().__init__(None)
        feed = streams.feed(user, thread_id)
        feed.add("", Filter(request.channels, request.namespaces, request.depth), request.since)

        def closed() -> None:
            feed.close()
            streams.left(user)

        self._streamed = Streamed(
            _told(feed, streams.pace),
            streams.connections,
            headers=HEADERS,
            idle=HEARTBEAT,
            until=user.until,
            looks=partial(looking, user=user, thread_id=thread_id),
            closed=closed,
        )

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._streamed


async def _told(feed: Feed, pace: Pace) -> AsyncGenerator[bytes, None]:
    yield HEARTBEAT
    while True:
        if events := await feed.next():
            yield b"".join(map(sse, events))
            if events[-1].method == "messages" and (seconds := pace.rest_s(asyncio.get_running_loop().time())):
                feed.rest(seconds)
