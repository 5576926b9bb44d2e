"""Graphs that stand still until somebody answers: interrupts, and static breakpoints.

LangGraph resumes a breakpoint with no input at all, so a careless resume approves it. Here a breakpoint is a
question like any other, and only the answer `true` lets its nodes run; any other ends the turn there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langgraph.types import Command, StateSnapshot

from unbroken.adapters.langgraph.inputs import resets
from unbroken.adapters.langgraph.messages import as_json
from unbroken.domain.errors import QuestionClosed
from unbroken.domain.events import InputResponse
from unbroken.domain.policy import own_question_id
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
