"""Files that a user attaches to a thread. They come from anybody's hands: no browser may run what it is given."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Struct

from unbroken.entrypoints.ids import new_id
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import user_of
from unbroken.entrypoints.web.rest import Call, Problem, existing, read_body

SHOWN: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Pictures that can hold nothing else; an SVG can hold a script."""
ANY_TYPE: Final = "application/octet-stream"
MAX_NAME: Final = 200
_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}", re.ASCII)
_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, max-age=3600",
}


class Attached(Struct, frozen=True, rename="camel"):
    file_id: str
    name: str
    mime_type: str
    size: int


@post("/api/threads/{thread_id:str}/files", request_max_body_size=None)
async def add_file(request: Call, thread_id: FromPath[str], name: FromQuery[str] = "") -> Response[Attached]:
    user_id = await user_of(request)
    service: Service = request.app.state.service
    mime_type = _mime_type(request.headers.get("content-type", ""))
    if mime_type.startswith("multipart/"):
        message = "send the file itself as the body, with its Content-Type and ?name="
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_a_file", message)
    await service.threads.get(user_id, existing(thread_id))  # nobody uploads megabytes for nothing
    file = await service.files.add(
        user_id,
        thread_id,
        file_id=new_id(),
        name=_name(name),
        mime_type=mime_type,
        data=await read_body(request, service.settings.max_file_bytes),
        limit=service.settings.max_thread_files,
    )
    return Response(Attached(file.file_id, file.name, file.mime_type, file.size), status_code=201)


@get("/api/threads/{thread_id:str}/files/{file_id:str}")
async def get_file(request: Call, thread_id: FromPath[str], file_id: FromPath[str]) -> Response[Any]:
    service: Service = request.app.state.service
    file, data = await service.files.read(await user_of(request), existing(thread_id), file_id)
    shown = "inline" if file.mime_type in SHOWN else "attachment"
    disposition = f"{shown}; filename*=UTF-8''{quote(file.name, safe='')}"
    return Response(data, media_type=file.mime_type, headers={**_SAFE, "Content-Disposition": disposition})


def _name(name: str) -> str:
    """The last part of a path, without what no file's name should hold."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(character for character in last if character.isprintable()).strip()[:MAX_NAME] or "file"


def _mime_type(content_type: str) -> str:
    kind = content_type.partition(";")[0].strip().lower()
    return kind if _TYPE.fullmatch(kind) else ANY_TYPE
