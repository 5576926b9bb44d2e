"""The protocol's addresses: commands, and events over server-sent events or a WebSocket."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from litestar import Response, WebSocket, post, websocket
from litestar.connection.base import empty_receive, empty_send
from litestar.params import FromPath

from unbroken.application.log_context import working_for
from unbroken.domain.errors import NotYourThread, ThreadDeleted, Unavailable
from unbroken.entrypoints.agent_protocol.codec import Bad, check_filter, decode_command, decoded, encode
from unbroken.entrypoints.agent_protocol.event_stream import EventStream
from unbroken.entrypoints.agent_protocol.socket import ProtocolSocket
from unbroken.entrypoints.agent_protocol.streams import Streams
from unbroken.entrypoints.agent_protocol.wire import EventStreamRequest
from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.langgraph_api.ruled import looking
from unbroken.entrypoints.web.callers import identified
from unbroken.entrypoints.web.connection import Closed
from unbroken.entrypoints.web.frames import CloseCode
from unbroken.entrypoints.web.query import THREAD_ID
from unbroken.entrypoints.web.rest import Call, Problem, read_body

log = logging.getLogger(__name__)

STATUS = {
    CloseCode.NOT_AUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    CloseCode.NOT_YOUR_THREAD: HTTPStatus.FORBIDDEN,
    CloseCode.TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    CloseCode.RESTARTING: HTTPStatus.SERVICE_UNAVAILABLE,
}


@post("/threads/{thread_id:str}/commands", status_code=200)
async def commands(request: Call, thread_id: FromPath[str]) -> Response[Any]:
    """One command; what it starts is told by the thread's events."""
    try:
        user = await identified(request)
        streams: Streams = request.app.state.streams
        streams.connections.refuse_if_stopping()
        if not THREAD_ID.fullmatch(thread_id):
            return _no_thread()
        command = decode_command(await read_body(request, streams.service.settings.max_frame_bytes))
        return _json(encode(await streams.commands(user, thread_id)(command)))
    except Bad as bad:
        return _json(encode(bad.as_response()), HTTPStatus.BAD_REQUEST)
    except Closed as end:
        return _refused(STATUS[end.code], str(end))
    except (NotYourThread, ThreadDeleted):
        return _no_thread()


@post("/threads/{thread_id:str}/stream/events", status_code=200)
async def events(request: Call, thread_id: FromPath[str]) -> Response[Any]:
    """One subscription, for as long as the response lasts."""
    try:
        user = await identified(request)
        streams: Streams = request.app.state.streams
        if not THREAD_ID.fullmatch(thread_id):
            return _no_thread()
        body = await read_body(request, streams.service.settings.max_frame_bytes)
        wanted = decoded(body, EventStreamRequest, "the body")
        check_filter(wanted)
        await streams.access(user).thread(thread_id)
        streams.admitted(user)
        return EventStream(streams, user, thread_id, wanted)
    except Bad as bad:
        return _refused(HTTPStatus.BAD_REQUEST, str(bad))
    except Closed as end:
        return _refused(STATUS[end.code], str(end))
    except (NotYourThread, ThreadDeleted):
        return _no_thread()
    except Problem as problem:
        return _refused(problem.status, str(problem))
    except Unavailable as error:
        return _refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


@websocket("/threads/{thread_id:str}/stream/events")
async def events_socket(socket: WebSocket[Any, Any, Any], thread_id: FromPath[str]) -> None:
    await socket.accept()
    with working_for(connection=new_id()):
        try:
            streams: Streams = socket.app.state.streams
            user = await identified(socket)
            if not THREAD_ID.fullmatch(thread_id):
                raise Closed(CloseCode.NO_SUCH_AGENT, "no such thread")
            streams.admitted(user)
            try:
                stream = ProtocolSocket(socket, streams, user, thread_id)
                streams.connections.opened(stream, user.until, looking(socket, user, thread_id))
                try:
                    await stream.run()
                finally:
                    streams.connections.closed(stream)
            finally:
                streams.left(user)
        except Closed as end:
            log.info("protocol connection closed with %d", end.code)
            await _close(socket, end)
        finally:  # they refer to the socket as it does to them, and to everything underneath
            socket.receive, socket.send = empty_receive, empty_send


PROTOCOL = (commands, events, events_socket)


async def _close(socket: WebSocket[Any, Any, Any], end: Closed) -> None:
    try:
        await socket.close(code=int(end.code), reason=str(end).encode()[:120].decode(errors="ignore"))
    except RuntimeError:
        log.debug("the socket was gone before it could be closed")


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response[bytes]:
    return Response(body, status_code=status, media_type="application/json", headers={"Cache-Control": "no-store"})


def _refused(status: HTTPStatus, message: str) -> Response[dict[str, str]]:
    return Response({"detail": message}, status_code=status, headers={"Cache-Control": "no-store"})


def _no_thread() -> Response[dict[str, str]]:
    """Also for what belongs to somebody else: whoever asks cannot tell one from the other."""
    return _refused(HTTPStatus.NOT_FOUND, "no such thread")
