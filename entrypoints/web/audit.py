"""What became of a user's messages, over REST. A session of somebody else is answered like one that does not exist."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, get_args

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from unbroken.adapters.langgraph.contents import contents
from unbroken.domain.audit import EntryKind, SessionFacts, Turn, told
from unbroken.domain.errors import InvalidValue
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.callers import user_of
from unbroken.entrypoints.web.codec import MAX_CURSOR
from unbroken.entrypoints.web.rest import Call, Problem, not_found

MAX_PAGE: Final = 50
KINDS: Final = frozenset(get_args(EntryKind))


@get("/api/sessions/{key:str}/timeline")
async def timeline(
    request: Call,
    key: FromPath[str],
    before: FromQuery[int | None] = None,
    limit: FromQuery[int] = 20,
    request_id: Annotated[str | None, QueryParameter(name="requestId")] = None,
    kinds: Annotated[str, QueryParameter(name="kind")] = "",
) -> dict[str, Any]:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidValue("limit", f"must be from 1 to {MAX_PAGE}")
    if before is not None and not 1 <= before <= MAX_CURSOR:
        raise InvalidValue("before", f"must be from 1 to {MAX_CURSOR}")
    wanted = _kinds(kinds)
    service: Service = request.app.state.service
    session = await _own(request, key)
    facts = await service.audit.session(session.thread_id, before=before, limit=limit, request_id=request_id)
    facts = _owned(facts, session)
    template = service.settings.trace_url
    return {
        "session": str(facts.key),
        "now": facts.now,
        "owner": facts.owner and {"replica": facts.owner, "name": facts.owner_name, "alive": facts.owner_alive},
        "cursor": facts.log_index,
        "sent": facts.sent,
        "acked": facts.acked,
        "turns": [_with_link(turn, template, wanted) for turn in told(facts)],
        "before": facts.events[0].seq if facts.earlier else None,
    }


@get("/api/sessions/{key:str}/checkpoints/{checkpoint_id:str}")
async def checkpoint(
    request: Call, key: FromPath[str], checkpoint_id: FromPath[str], ns: FromQuery[str] = ""
) -> dict[str, Any]:
    """What the agent's state held there, for people's eyes: long texts and lists are cut short."""
    service: Service = request.app.state.service
    session = await _existing(request, key)
    stored = await service.checkpoints.load(session.thread_id, ns, checkpoint_id)
    if stored is None:
        raise not_found("checkpoint")
    return {"checkpointId": checkpoint_id, "checkpointNs": ns, **contents(stored)}


@post("/api/sessions/{key:str}/effects/{effect_id:str}/retry", status_code=HTTPStatus.ACCEPTED)
async def retry_effect(request: Call, key: FromPath[str], effect_id: FromPath[str]) -> dict[str, Any]:
    """One more try for a dead letter."""
    service: Service = request.app.state.service
    session = await _existing(request, key)
    if not await service.outbox.revive(session.thread_id, effect_id):
        raise Problem(HTTPStatus.CONFLICT, "not_given_up", "this effect was not given up, or is tried again already")
    service.wake_effects()
    return {"effectId": effect_id}


async def _own(request: Call, text: str) -> SessionKey:
    """Raises Problem for whatever is not a session of the caller's."""
    user_id = await user_of(request)
    try:
        key = SessionKey.parse(text)
    except InvalidValue:
        raise not_found("session") from None
    if key.user_id != user_id:
        raise not_found("session")
    return key


def _owned(facts: SessionFacts | None, key: SessionKey) -> SessionFacts:
    if facts is None or facts.key != key:
        raise not_found("session")
    return facts


async def _existing(request: Call, text: str) -> SessionKey:
    service: Service = request.app.state.service
    key = await _own(request, text)
    return _owned(await service.audit.session(key.thread_id, limit=1), key).key


def _kinds(given: str) -> frozenset[str]:
    wanted = frozenset(part.strip() for part in given.split(",") if part.strip())
    if wanted - KINDS:
        raise InvalidValue("kind", f"must be of {', '.join(sorted(KINDS))}")
    return wanted or KINDS


def _with_link(turn: Turn, template: str | None, wanted: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(turn)
    found["entries"] = [entry for entry in found["entries"] if entry["kind"] in wanted]
    named = turn.trace_id if turn.sampled else None
    found["traceUrl"] = template.replace("{trace_id}", named) if template and named else None
    return found
