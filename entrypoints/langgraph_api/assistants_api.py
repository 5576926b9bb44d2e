"""`/assistants`: each graph is one by itself, and users create others, which set a graph's config beforehand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Literal
from uuid import uuid4

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery
from msgspec import Struct

from unbroken.domain.catalogue import MAX_METADATA, Assistant, Metadata, Preset, Where, matches
from unbroken.domain.errors import UnknownAssistant
from unbroken.entrypoints.langgraph_api.access import Access, access_of
from unbroken.entrypoints.langgraph_api.answers import body_of, invalid
from unbroken.entrypoints.langgraph_api.graph_ids import assistant_id_of, graph_named
from unbroken.entrypoints.langgraph_api.permissions import where_of
from unbroken.entrypoints.langgraph_api.run_bodies import check_config
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.query import THREAD_ID
from unbroken.entrypoints.web.rest import Call, Problem

MAX_PAGE: Final = 1_000
DEEPEST: Final = 10
STARTED: Final = datetime.now(UTC)
"""Graphs' own assistants are as old as the process that serves them."""
SYSTEM: Final = {"created_by": "system"}
SORTS: Final = ("assistant_id", "graph_id", "name", "created_at", "updated_at")


class NewAssistant(Struct, frozen=True):
    graph_id: str
    assistant_id: str | None = None
    config: Metadata | None = None
    context: Any = None
    metadata: Metadata | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    name: str | None = None
    description: str | None = None


class AssistantChanges(Struct, frozen=True):
    graph_id: str | None = None
    config: Metadata | None = None
    context: Any = None
    metadata: Metadata | None = None
    name: str | None = None
    description: str | None = None


class AssistantSearch(Struct, frozen=True):
    metadata: Metadata | None = None
    graph_id: str | None = None
    name: str | None = None
    limit: int = 10
    offset: int = 0
    sort_by: Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"] | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: tuple[str, ...] | None = None


class VersionsQuery(Struct, frozen=True):
    metadata: Metadata | None = None
    limit: int = 10
    offset: int = 0


class Latest(Struct, frozen=True):
    version: int


async def assistant_named(service: Service, user_id: str, named: str) -> Assistant:
    """By a graph's name, or an assistant's id. Raises UnknownAssistant."""
    graph_id = graph_named(service.agents, named)
    return _of_graph(graph_id) if graph_id is not None else await service.assistants.get(user_id, named)


@post("/assistants/search", status_code=HTTPStatus.OK)
async def search_assistants(request: Call) -> Response[Any]:
    asked = await body_of(request, AssistantSearch)
    if not 1 <= asked.limit <= MAX_PAGE or asked.offset < 0:
        raise invalid(f"limit: must be from 1 to {MAX_PAGE}, offset from 0 on")
    found = await _found(await access_of(request), asked)
    sort_by = asked.sort_by or "created_at"
    found.sort(key=lambda one: (_view(one)[sort_by], one.assistant_id), reverse=asked.sort_order != "asc")
    page = found[asked.offset : asked.offset + asked.limit]
    headers = {"X-Pagination-Total": str(len(found))}
    if page and asked.offset + len(page) < len(found):
        headers["X-Pagination-Next"] = str(asked.offset + len(page))
    views = [_view(one) for one in page]
    if asked.select is not None:
        views = [{name: view[name] for name in asked.select if name in view} for view in views]
    return Response(views, headers=headers)


@post("/assistants/count", status_code=HTTPStatus.OK)
async def count_assistants(request: Call) -> int:
    return len(await _found(await access_of(request), await body_of(request, AssistantSearch)))


@post("/assistants", status_code=HTTPStatus.OK)
async def create_assistant(request: Call) -> dict[str, Any]:
    access = await access_of(request)
    asked = await body_of(request, NewAssistant)
    assistant_id = asked.assistant_id or str(uuid4())
    if not THREAD_ID.fullmatch(assistant_id):
        raise invalid("assistant_id: must be 1 to 128 of A-Z a-z 0-9 _ - .")
    value: dict[str, Any] = {
        "assistant_id": assistant_id,
        "graph_id": _graph(access, asked.graph_id),
        "config": dict(asked.config or {}),
        "context": asked.context,
        "metadata": dict(asked.metadata or {}),
        "if_exists": asked.if_exists or "raise",
        "name": asked.name or "Untitled",
    }
    where = await access.allowed("assistants", "create", value)
    value |= _in_step(value["config"], value["context"])
    preset = _preset(value, asked.description)
    taken = graph_named(access.service.agents, assistant_id) is not None
    if taken or not await access.service.assistants.create(access.user.id, assistant_id, preset):
        known = await assistant_named(access.service, access.user.id, assistant_id)
        if asked.if_exists != "do_nothing" or not _shown(known, where):
            raise Problem(HTTPStatus.CONFLICT, "conflict", f"Assistant {assistant_id} already exists")
        return _view(known)
    return _view(await access.service.assistants.get(access.user.id, assistant_id))


@get("/assistants/{assistant_id:str}")
async def get_assistant(request: Call, assistant_id: FromPath[str]) -> dict[str, Any]:
    return _view(await _assistant(await access_of(request), assistant_id))


@patch("/assistants/{assistant_id:str}")
async def change_assistant(request: Call, assistant_id: FromPath[str]) -> dict[str, Any]:
    access = await access_of(request)
    asked = await body_of(request, AssistantChanges)
    value = {name: given for name, given in msgspec.to_builtins(asked).items() if given is not None}
    former = await _created(access, assistant_id, "update", value)
    kept = former.preset
    if "graph_id" in value:
        value["graph_id"] = _graph(access, value["graph_id"])
    value |= _in_step(value.get("config"), value.get("context"), kept.config)
    merged = {name: value.get(name, getattr(kept, name)) for name in ("graph_id", "config", "context", "name")}
    merged["metadata"] = {**kept.metadata, **(value.get("metadata") or {})}
    preset = _preset(merged, value.get("description", kept.description))
    return _view(await access.service.assistants.add_version(access.user.id, assistant_id, preset))


@delete("/assistants/{assistant_id:str}")
async def delete_assistant(request: Call, assistant_id: FromPath[str], delete_threads: FromQuery[bool] = False) -> None:
    if delete_threads:
        raise invalid("delete_threads: threads belong to their graph, not to an assistant; delete them by themselves")
    access = await access_of(request)
    await _created(access, assistant_id, "delete", {})
    await access.service.assistants.delete(access.user.id, assistant_id)


@post("/assistants/{assistant_id:str}/versions", status_code=HTTPStatus.OK)
async def list_versions(request: Call, assistant_id: FromPath[str]) -> list[dict[str, Any]]:
    access = await access_of(request)
    asked = await body_of(request, VersionsQuery)
    known = await _assistant(access, assistant_id)
    created = graph_named(access.service.agents, assistant_id) is None
    found = await access.service.assistants.versions(access.user.id, assistant_id) if created else [known]
    shown = [one for one in found if _shown(one, where_of(asked.metadata))]
    views = [_view(one) for one in shown[max(0, asked.offset) :][: max(0, asked.limit)]]
    return [{name: held for name, held in view.items() if name != "updated_at"} for view in views]


@post("/assistants/{assistant_id:str}/latest", status_code=HTTPStatus.OK)
async def set_latest(request: Call, assistant_id: FromPath[str]) -> dict[str, Any]:
    access = await access_of(request)
    asked = await body_of(request, Latest)
    value = {"version": asked.version}
    await _created(access, assistant_id, "update", value)
    return _view(await access.service.assistants.set_latest(access.user.id, assistant_id, value["version"]))


@get("/assistants/{assistant_id:str}/schemas")
async def get_schemas(request: Call, assistant_id: FromPath[str]) -> dict[str, Any]:
    access = await access_of(request)
    preset = (await _assistant(access, assistant_id)).preset
    schemas = await access.service.states.schemas(preset.graph_id, config=_config_of(preset), user=access.known)
    return {"graph_id": preset.graph_id, **schemas}


@get("/assistants/{assistant_id:str}/graph")
async def get_graph(request: Call, assistant_id: FromPath[str], xray: FromQuery[str] = "false") -> dict[str, Any]:
    access = await access_of(request)
    preset, depth = (await _assistant(access, assistant_id)).preset, _depth(xray)
    states, config = access.service.states, _config_of(preset)
    return await states.drawing(preset.graph_id, depth=depth, config=config, user=access.known)


@get("/assistants/{assistant_id:str}/subgraphs")
async def get_subgraphs(request: Call, assistant_id: FromPath[str], recurse: FromQuery[bool] = False) -> Any:
    return await _subgraphs(request, assistant_id, None, recurse)


@get("/assistants/{assistant_id:str}/subgraphs/{namespace:str}")
async def get_subgraph(
    request: Call, assistant_id: FromPath[str], namespace: FromPath[str], recurse: FromQuery[bool] = False
) -> Any:
    return await _subgraphs(request, assistant_id, namespace, recurse)


async def _subgraphs(request: Call, assistant_id: str, namespace: str | None, recurse: bool) -> Any:
    access = await access_of(request)
    preset = (await _assistant(access, assistant_id)).preset
    states, config, user = access.service.states, _config_of(preset), access.known
    return await states.subgraphs(preset.graph_id, namespace=namespace, recurse=recurse, config=config, user=user)


def _config_of(preset: Preset) -> dict[str, Any]:
    """As a run of the assistant begins with it: what its context sets is configurable, too."""
    parts = (preset.config.get("configurable"), preset.context)
    return {"configurable": {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}}


def _depth(xray: str) -> int:
    words = {"false": 0, "true": DEEPEST}
    if xray.lower() not in words and not (xray.isdecimal() and xray.isascii() and int(xray) <= DEEPEST):
        raise invalid(f"xray: must be true, false, or a depth up to {DEEPEST}")
    return words[xray.lower()] if xray.lower() in words else int(xray)


async def _found(access: Access, asked: AssistantSearch) -> list[Assistant]:
    value: dict[str, Any] = {
        "graph_id": asked.graph_id,
        "metadata": dict(asked.metadata or {}),
        "limit": asked.limit,
        "offset": asked.offset,
    }
    where = await access.allowed("assistants", "search", value)
    sought = where_of(value["metadata"])
    own = [_of_graph(graph_id) for graph_id in access.service.agents.names()]
    found = []
    for one in (*own, *await access.service.assistants.list(access.user.id)):
        named = asked.graph_id in (None, one.preset.graph_id) and (asked.name or "").lower() in one.preset.name.lower()
        if named and _shown(one, where) and matches(one.preset.metadata, sought):
            found.append(one)
        await asyncio.sleep(0)  # others are served meanwhile: there may be many, and long ones
    return found


async def _assistant(access: Access, assistant_id: str) -> Assistant:
    """Raises UnknownAssistant, Problem."""
    where = await access.allowed("assistants", "read", {"assistant_id": assistant_id, "metadata": {}})
    found = await assistant_named(access.service, access.user.id, assistant_id)
    if not _shown(found, where):
        raise UnknownAssistant(assistant_id)
    return found


async def _created(access: Access, assistant_id: str, action: str, value: dict[str, Any]) -> Assistant:
    """One that the user may change. `value`: how, and then what the project's rules have made of that. Raises
    UnknownAssistant, Problem."""
    value["assistant_id"] = assistant_id
    where = await access.allowed("assistants", action, value)
    if graph_named(access.service.agents, assistant_id) is not None:
        raise Problem(HTTPStatus.CONFLICT, "conflict", "this assistant is a graph's own; create another to change it")
    found = await access.service.assistants.get(access.user.id, assistant_id)
    if not _shown(found, where):
        raise UnknownAssistant(assistant_id)
    return found


def _shown(assistant: Assistant, where: Where) -> bool:
    """Graphs' own assistants are everybody's."""
    return assistant.created_at is STARTED or matches(assistant.preset.metadata, where)


def _graph(access: Access, named: str) -> str:
    graph_id = graph_named(access.service.agents, named)
    if graph_id is None:
        known = ", ".join(access.service.agents.names())
        raise Problem(HTTPStatus.NOT_FOUND, "not_found", f"Graph {named!r} not found. Served are: {known}")
    return graph_id


def _in_step(config: Any, context: Any, kept: Metadata | None = None) -> dict[str, Any]:
    """What is configurable is the context as well, and the other way round, whichever of the two is given. `kept`: the
    config that a context alone goes into. Raises Problem."""
    check_config(config or {}, context)
    if (config or {}).get("configurable"):
        return {"context": config["configurable"]}
    if context is None:
        return {}
    rest = {name: held for name, held in ((kept or {}) if config is None else config).items() if name != "configurable"}
    return {"config": {**rest, "configurable": context} if context else rest}


def _preset(value: dict[str, Any], description: str | None) -> Preset:
    preset = Preset(
        value["graph_id"], value["name"], description, value["config"] or {}, value["context"], value["metadata"]
    )
    if len(msgspec.json.encode(preset)) > MAX_METADATA:
        raise invalid(f"an assistant's config, context and metadata are at most {MAX_METADATA} bytes long")
    return preset


def _of_graph(graph_id: str) -> Assistant:
    return Assistant(assistant_id_of(graph_id), 1, Preset(graph_id, graph_id, metadata=dict(SYSTEM)), STARTED, STARTED)


def _view(assistant: Assistant) -> dict[str, Any]:
    preset = assistant.preset
    return {
        "assistant_id": assistant.assistant_id,
        "graph_id": preset.graph_id,
        "config": preset.config,
        "context": preset.context or {},
        "metadata": preset.metadata,
        "name": preset.name,
        "created_at": assistant.created_at,
        "updated_at": assistant.updated_at,
        "version": assistant.version,
        "description": preset.description,
    }
