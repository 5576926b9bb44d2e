"""A run as LangGraph's clients read it."""

from __future__ import annotations

from typing import Any, Final

from unbroken.domain.events import InputResponse, RunStart, TimerFired, UserMessage
from unbroken.domain.runs import Run, RunState
from unbroken.entrypoints.langgraph_api.graph_ids import assistant_id_of

STATUS: Final = {
    RunState.PENDING: "pending",
    RunState.RUNNING: "running",
    RunState.ANSWERED: "success",
    RunState.ASKING: "success",
    RunState.CANCELLED: "interrupted",
    RunState.FAILED: "error",
    RunState.TIMED_OUT: "timeout",
}
"""A run that asks has done what it could: it is the thread that is interrupted."""
STATES: Final[dict[str, RunState | None]] = {
    "pending": RunState.PENDING,
    "running": RunState.RUNNING,
    "success": RunState.ANSWERED,
    "interrupted": RunState.CANCELLED,
    "error": RunState.FAILED,
    "timeout": RunState.TIMED_OUT,
}
FIELDS: Final = (
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
)


def run_object(run: Run) -> dict[str, Any]:
    body = run.body
    own = {"graph_id": run.agent_id, "assistant_id": assistant_id_of(run.agent_id)}
    metadata = body.metadata if isinstance(body, RunStart) else own
    client = body.client if isinstance(body, RunStart) else {}
    return {
        "run_id": run.id,
        "thread_id": run.thread_id,
        "assistant_id": metadata.get("assistant_id", own["assistant_id"]),
        "metadata": metadata,
        "status": STATUS[run.state],
        "kwargs": {**_given(run), "stream_mode": client.get("stream_mode", ["values"])},
        "multitask_strategy": client.get("multitask_strategy", "enqueue"),
        "created_at": run.created_at,
        "updated_at": run.ended_at or run.created_at,
    }


def _given(run: Run) -> dict[str, Any]:
    """What it was started with; what chat clients have said, as if these had."""
    match run.body:
        case RunStart() as body:
            return {
                "input": body.input,
                "command": body.command,
                "config": {**body.config, "metadata": body.metadata},
                "context": body.context,
                "interrupt_before": body.interrupt_before,
                "interrupt_after": body.interrupt_after,
                "subgraphs": bool(body.client.get("subgraphs")),
                "temporary": body.temporary,
            }
        case UserMessage(content):
            return {"input": {"messages": [{"role": "user", "content": content, "id": run.id}]}, "command": None}
        case InputResponse(_, value):
            return {"input": None, "command": {"resume": value}}
        case TimerFired():
            return {"input": None, "command": None}
    return {"input": None, "command": None}
