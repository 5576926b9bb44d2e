"""Threads as LangGraph's clients read them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Final

from unbroken.domain.catalogue import ThreadRecord
from unbroken.domain.errors import AgentRaised, InvalidValue, UnknownAgent
from unbroken.domain.ports.thread_states import Spot, State
from unbroken.domain.session import SessionKey
from unbroken.entrypoints.langgraph_api.access import Access
from unbroken.entrypoints.langgraph_api.graph_ids import assistant_id_of

log = logging.getLogger(__name__)

FIELDS: Final = (
    *("thread_id", "created_at", "updated_at", "state_updated_at"),
    *("metadata", "status", "config", "values", "interrupts", "error"),
)
OF_STATE: Final = frozenset({"values", "interrupts"})

EMPTY: Final[State] = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}
"""Of a thread in which nothing ran."""


async def thread_view(access: Access, record: ThreadRecord, select: Collection[str] = FIELDS) -> dict[str, Any]:
    """With the head's values, as far as they are asked for: they have to be read for each thread by itself."""
    state = await _state(access, record) if OF_STATE.intersection(select) else None
    metadata = dict(record.metadata)
    if record.agent_id is not None:
        metadata.setdefault("assistant_id", assistant_id_of(record.agent_id))
    view: dict[str, Any] = {
        "thread_id": record.thread_id,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "state_updated_at": record.state_updated_at,
        "metadata": metadata,
        "status": record.status.value,
        "config": {},
        "values": state["values"] if state and state["checkpoint"] else None,
        "interrupts": _interrupts(state) if state else {},
        "error": None,
    }
    return {name: view[name] for name in FIELDS if name in select}


def key_of(user_id: str, record: ThreadRecord) -> SessionKey | None:
    """None: no agent is bound to the thread."""
    return None if record.agent_id is None else SessionKey(user_id, record.agent_id, record.thread_id)


async def _state(access: Access, record: ThreadRecord) -> State | None:
    """None: nothing ran, or the agent's graph cannot be had now; the thread is there all the same."""
    key = key_of(access.user.id, record)
    try:
        return None if key is None else await access.service.states.read(key, Spot(), user=access.known)
    except (UnknownAgent, AgentRaised, InvalidValue) as error:
        log.warning("the state of %s cannot be told: %s", key, error)
        return None


def _interrupts(state: State) -> dict[str, Any]:
    return {task["id"]: task["interrupts"] for task in state["tasks"] if task["interrupts"]}
