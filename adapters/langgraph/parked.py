"""Graphs that stand still until somebody answers: interrupts, and static breakpoints.

LangGraph resumes a breakpoint with no input at all, so a careless resume approves it. Here a breakpoint is a
question like any other, and only the answer `true` lets its nodes run; any other ends the turn there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langgraph.types import Command, StateSnapshot

from unbroken.adapters.langgraph.inputs import resets
from unbroken.adapters.langgraph.json_values import as_json
from unbroken.domain.errors import QuestionClosed
from unbroken.domain.events import EventBody, InputResponse, RunStart
from unbroken.domain.policy import own_question_id, question_id
from unbroken.domain.turn import Question

BREAKPOINT = "breakpoint:"

Breakpoints = str | Sequence[str]
"""Node names, or "*" for all of them."""


def questions_of(snapshot: StateSnapshot) -> tuple[Question, ...]:
    if snapshot.interrupts:
        return tuple(Question(interrupt.id, as_json(interrupt.value)) for interrupt in snapshot.interrupts)
    if snapshot.next:
        return (Question(_breakpoint_id(snapshot), {"type": "breakpoint", "nodes": sorted(set(snapshot.next))}),)
    return ()


def answer_to(snapshot: StateSnapshot, body: InputResponse, effect_channels: Sequence[str]) -> Command[Any] | None:
    """The graph's input that answers one question; others that are open stay so. None: a breakpoint is not to be
    passed. Raises QuestionClosed if the state does not hold the question."""
    asked = own_question_id(body.interrupt_id)
    update = resets(effect_channels)
    if any(interrupt.id == asked for interrupt in snapshot.interrupts):
        return Command(resume={asked: body.value}, update=update or None)
    if not snapshot.interrupts and snapshot.next and asked == _breakpoint_id(snapshot):
        return Command(update=update or {"messages": []}) if body.value is True else None
    raise QuestionClosed("this question is not open any more")


def response_in(body: EventBody) -> InputResponse | None:
    """A chat's answer; and that of a run which does nothing but answer a breakpoint that it names: a `false` must not
    pass it, nor its answer be taken for that to the next question."""
    if isinstance(body, InputResponse):
        return body
    if not isinstance(body, RunStart) or not isinstance(body.resume, dict) or (body.command or {}).keys() != {"resume"}:
        return None
    named = [id_ for id_ in body.resume if id_.startswith(BREAKPOINT)]
    if not named or len(body.resume) > 1:
        return None
    (id_,) = named
    own = id_ if id_.count(":") == BREAKPOINT.count(":") else own_question_id(id_)
    return InputResponse(question_id(own, 0), body.resume[id_])


def stops_before(breakpoints: Breakpoints, nodes: Collection[str]) -> bool:
    return bool(nodes) and (breakpoints == "*" or any(node in breakpoints for node in nodes))


def waits_for_someone(snapshot: StateSnapshot, before: Breakpoints, after: Breakpoints) -> bool:
    """Whether unfinished tasks found in a thread of another saver stand at a question rather than at a crash.

    After an `interrupt_after` nothing tells which node ran last, so such a graph counts as waiting.
    """
    return bool(snapshot.next) and bool(snapshot.interrupts or after or stops_before(before, snapshot.next))


def stands_still(item: Mapping[str, Any], ran: Collection[str], before: Breakpoints, after: Breakpoints) -> bool:
    """Whether the run may stop at this checkpoint for a static breakpoint. If a crash resumed from it, the
    breakpoint would be passed unasked; so it must not be committed by itself."""
    return stops_before(before, item["next"]) or stops_before(after, ran)


def _breakpoint_id(snapshot: StateSnapshot) -> str:
    return BREAKPOINT + str(snapshot.config["configurable"].get("checkpoint_id", ""))
