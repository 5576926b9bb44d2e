"""What a run goes on with that answers or forks: the config and the context of the run before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from unbroken.domain.errors import NotYourThread, ThreadDeleted
from unbroken.domain.events import RunStart
from unbroken.domain.policy import asking_seq
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.langgraph_api.access import Access
from unbroken.entrypoints.langgraph_api.assistants import Served, served
from unbroken.entrypoints.langgraph_api.open_questions import open_questions
from unbroken.entrypoints.langgraph_api.run_bodies import Asked
from unbroken.entrypoints.service import Service
from unbroken.entrypoints.web.rest import Problem


def shaped(assistant: Served, former: RunStart | None) -> Served:
    """The assistant as the `former` run had it: what was said for that one alone stands before the assistant's own, and
    what the new run brings itself before both."""
    if former is None:
        return assistant
    config = {**assistant.config, **former.config}
    configurable = {**_mapping(assistant.config.get("configurable")), **_mapping(former.config.get("configurable"))}
    if configurable:
        config["configurable"] = configurable
    return replace(assistant, config=config, context=assistant.context if former.context is None else former.context)


async def for_answer(service: Service, key: SessionKey, asked: Asked, assistant: Served) -> Served:
    """The assistant for this run: if it answers a question that is open, as the run had it that asked. Whether the
    caller may run anything there is not decided here. Raises StoreUnavailable."""
    if (asked.command or {}).get("resume") is None:
        return assistant
    try:
        found = await open_questions(service.sessions, service.outbox, key)
    except (NotYourThread, ThreadDeleted):
        return assistant
    if not found:
        return assistant
    return shaped(assistant, await service.runs.asking(key.thread_id, asking_seq(next(reversed(found)))))


async def served_before(access: Access, key: SessionKey, former: RunStart | None) -> Served:
    """The assistant that the `former` run was one of, as that run had it; the graph's own, if there was none, or it is
    gone, or hidden by the project's rules. Raises Problem, StoreUnavailable."""
    named = key.agent_id if former is None else former.metadata.get("assistant_id")
    try:
        found = await served(access, str(named))
    except Problem:
        found = None
    if found is None or found.graph_id != key.agent_id:
        found = await served(access, key.agent_id)
    return shaped(found, former)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
