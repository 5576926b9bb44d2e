"""What a project's rules are told of a run that is about to begin, and of one that is to be cancelled: the same at
every way in, in the shape of `langgraph_sdk.Auth`'s types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from unbroken.domain.events import WhenBusy

GIVEN: Final = ("input", "command", "config", "context")
"""Of a run, what rules see, and may change."""


def runs_create(
    thread_id: str | None,
    assistant_id: str,
    given: Mapping[str, Any],
    *,
    metadata: Mapping[str, Any] = {},
    run_id: str | None = None,
    when_busy: WhenBusy | None = None,
    creates: bool = True,
) -> dict[str, Any]:
    """`RunsCreate`. `assistant_id`: of the graph's own assistant, where the run names none made by hand. `given`: any
    of GIVEN, theirs to change in place. `creates`: the thread comes to be, where there is none."""
    strategy = when_busy or WhenBusy.ENQUEUE
    kwargs = {name: given.get(name) for name in GIVEN}
    config = kwargs["config"] or {}
    kwargs["config"] = {**config, "configurable": config.get("configurable") or {}}
    return {
        "thread_id": thread_id,
        "assistant_id": assistant_id,
        "run_id": run_id,
        "status": "pending",
        "metadata": dict(metadata),
        "prevent_insert_if_inflight": strategy is WhenBusy.REJECT,
        "multitask_strategy": strategy.value,
        "if_not_exists": "create" if creates else "reject",
        "after_seconds": 0,
        "kwargs": kwargs,
    }


def given_by(value: Mapping[str, Any]) -> dict[str, Any]:
    """What the rules have left of what was `given`, or made of it."""
    given = {name: value["kwargs"].get(name) for name in GIVEN}
    config = dict(given["config"] or {})
    if not config.get("configurable"):
        config.pop("configurable", None)
    return given | {"config": config}


def cancelling(run_ids: Sequence[str] | None, *, forgets: bool = False, status: str | None = None) -> dict[str, Any]:
    """`ThreadsUpdate` of a thread whose runs are to be cancelled. `run_ids` None: those that are unfinished."""
    found = None if run_ids is None else list(run_ids)
    return {"action": "rollback" if forgets else "interrupt", "metadata": {"run_ids": found, "status": status}}
