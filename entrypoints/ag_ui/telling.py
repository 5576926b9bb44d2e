"""What a session says of one run, as AG-UI events. Sans I/O: deliveries in, events out.

    RUN_STARTED ─ messages, tool calls, reasoning, steps, state … ─ MESSAGES_SNAPSHOT ─ STATE_SNAPSHOT ─ RUN_FINISHED
                        │ the attempt was lost                                                       └── RUN_ERROR
                        └─▶ what is open ends, MESSAGES_SNAPSHOT of what is committed, and on with the next attempt

What streams is provisional, and the last snapshots are what is committed: they replace it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from unbroken.application.deliveries import Delivery, ShowReset, ShowStep
from unbroken.domain.effects import CancelTurn, ReportFailure, RequestInput, SendMessage
from unbroken.domain.events import Event, RunStart
from unbroken.domain.stream_parts import StepPart
from unbroken.entrypoints.ag_ui.messages import MESSAGES, shown_messages, without_messages
from unbroken.entrypoints.ag_ui.streaming import AgUiEvent, StreamedMessages
from unbroken.entrypoints.langgraph_api.run_events import Ended

VERSION: Final = "1.0"
ASKED: Final = "input_required"
"""Why a run was interrupted, where the agent does not say."""


CUSTOM: Final = "langgraph.custom"
"""What a node wrote with `get_stream_writer`."""
USAGE: Final = (
    ("input_tokens", "inputTokens"),
    ("output_tokens", "outputTokens"),
    ("total_tokens", "totalTokens"),
)


class Telling:
    """One reader's view of one run."""

    def __init__(self, run: Event, thread_id: str, run_id: str, *, again: bool = False) -> None:
        """`again`: somebody has asked for the run before, and may have been told a part of it."""
        self._run = run
        self._again = again
        self._names = {"threadId": thread_id, "runId": run_id}
        self._messages = StreamedMessages()
        self._known: dict[str, Any] | None = None
        """The state that was last told."""
        self._steps: dict[str, int] = {}
        """Nodes that run, and how often."""

    def begins(self) -> list[AgUiEvent]:
        return [{"type": "RUN_STARTED", **self._names, "protocolVersion": VERSION}]

    def wants_state(self, delivery: Delivery) -> bool:
        """Whether `take` is to be given the committed values: an attempt begins that voids what another has shown."""
        return self._is_mine(delivery) and isinstance(delivery, ShowReset) and (delivery.voids or self._again)

    def wants_end(self, end: Ended) -> bool:
        """Whether `ends` is to be given the values that it has committed."""
        return not isinstance(end, ReportFailure)

    def take(self, delivery: Delivery, state: bytes | None) -> list[AgUiEvent]:
        if not self._is_mine(delivery):
            return []
        if isinstance(delivery, ShowReset):
            told = self._close()
            here: list[dict[str, Any]] = []
            if state is not None:
                values = object_of(state)
                here = shown_messages(values.get(MESSAGES))
                told += [_snapshot([*here, *_said(self._run, here)]), *self._state(values)]
            self._messages = StreamedMessages(delivery.attempt, self._messages.shown, here)
            return told
        return self._step(delivery.part) if isinstance(delivery, ShowStep) else []

    def ends(self, end: Ended, questions: Sequence[RequestInput], state: bytes | None) -> list[AgUiEvent]:
        told = self._close()
        if isinstance(end, ReportFailure):
            return [*told, {"type": "RUN_ERROR", "message": end.message, "code": end.code}]
        values = object_of(state)
        told += [*_conversation(values), *self._state(values)]
        outcome = {"type": "cancelled"} if isinstance(end, CancelTurn) else _outcome(questions)
        finished: AgUiEvent = {"type": "RUN_FINISHED", **self._names, "outcome": outcome}
        if isinstance(end, SendMessage) and end.token_usage:
            finished["usage"] = [{theirs: end.token_usage[ours] for ours, theirs in USAGE if ours in end.token_usage}]
        return [*told, finished]

    def _state(self, values: dict[str, Any]) -> list[AgUiEvent]:
        """Told where it differs from what was told: most supersteps change the conversation alone."""
        snapshot = without_messages(values)
        if snapshot == self._known:
            return []
        self._known = snapshot
        return [{"type": "STATE_SNAPSHOT", "snapshot": snapshot}]

    def _is_mine(self, delivery: Delivery) -> bool:
        return getattr(delivery, "request_id", None) == self._run.request_id

    def _step(self, part: StepPart) -> list[AgUiEvent]:
        if part.data is None:
            return []
        data: Any = msgspec.json.decode(part.data)
        match part.method:
            case "messages":
                return self._messages.event(part.namespace, data)
            case "message":
                return self._messages.message(data)
            case "tools":
                return self._messages.tool(part.namespace, data)
            case "custom":
                return [{"type": "CUSTOM", "name": CUSTOM, "value": data}]
            case "values" if not part.namespace and isinstance(data, dict):
                return self._state(data)
            case "tasks" if not part.namespace and isinstance(data, dict):
                return self._task(data)
        return []

    def _task(self, data: dict[str, Any]) -> list[AgUiEvent]:
        """Of a fan-out's runs of one node, the first begins the step and the last ends it."""
        name = str(data.get("name", ""))
        running = self._steps.get(name, 0)
        if "input" in data:
            self._steps[name] = running + 1
            return [{"type": "STEP_STARTED", "stepName": name}] if not running else []
        if running:
            self._steps[name] = running - 1
        return [{"type": "STEP_FINISHED", "stepName": name}] if running == 1 else []

    def _close(self) -> list[AgUiEvent]:
        """Whatever is open has an end."""
        told = self._messages.close()
        told += [{"type": "STEP_FINISHED", "stepName": name} for name, running in self._steps.items() if running]
        self._steps.clear()
        return told


def at_rest(
    thread_id: str, run_id: str, values: dict[str, Any], questions: Sequence[RequestInput] = ()
) -> list[AgUiEvent]:
    """Of a run that had nothing to run for: where its thread stands. `questions`: all that are open there."""
    names = {"threadId": thread_id, "runId": run_id}
    begins: AgUiEvent = {"type": "RUN_STARTED", **names, "protocolVersion": VERSION}
    state: AgUiEvent = {"type": "STATE_SNAPSHOT", "snapshot": without_messages(values)}
    return [begins, *_conversation(values), state, {"type": "RUN_FINISHED", **names, "outcome": _outcome(questions)}]


def _outcome(questions: Sequence[RequestInput]) -> dict[str, Any]:
    """Of what has ended, or stands still, with these open."""
    if not questions:
        return {"type": "success"}
    return {"type": "interrupt", "interrupts": [_interrupt(asked) for asked in questions]}


def _conversation(values: dict[str, Any]) -> list[AgUiEvent]:
    return [_snapshot(shown_messages(values[MESSAGES]))] if MESSAGES in values else []


def _said(run: Event, here: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the run was started with that is not `here`: until its first superstep is committed, the state lacks it."""
    body = run.body
    given = (body.input or (body.command or {}).get("update")) if isinstance(body, RunStart) else None
    known = {message["id"] for message in here}
    said = shown_messages(given.get(MESSAGES)) if isinstance(given, dict) else []
    return [message for message in said if message["id"] not in known]


def object_of(state: bytes | None) -> dict[str, Any]:
    found = msgspec.json.decode(state or b"{}")
    return found if isinstance(found, dict) else {}


def _snapshot(messages: Sequence[dict[str, Any]]) -> AgUiEvent:
    return {"type": "MESSAGES_SNAPSHOT", "messages": messages}


def _interrupt(asked: RequestInput) -> AgUiEvent:
    value = asked.value
    told: AgUiEvent = {"id": asked.interrupt_id, "reason": ASKED, "metadata": {"value": value}}
    if isinstance(value, str):
        return told | {"message": value}
    if isinstance(value, dict):
        if isinstance(reason := value.get("reason"), str):
            told["reason"] = reason
        for name in ("message", "question", "description"):
            if isinstance(said := value.get(name), str):
                return told | {"message": said}
    return told


def sse(events: Sequence[AgUiEvent]) -> bytes:
    """JSON holds no line break, so each event is one line."""
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(event) for event in events)
