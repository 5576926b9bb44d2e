"""What must be true of a thread in which LangGraph's clients had runs, when they are over, whoever died in them.

The state holds what was said and answered, each once and in order; each answer is what the model says to exactly what
stands before it; and what a run's stream has told agrees with that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tests.crash.callers import Caller, Stream, holds
from tests.crash.verdict import BETWEEN_MESSAGES
from tests.end_to_end.client import Client
from tests.graphs.speech import Said, is_speech

NOT_THE_MODELS = "noted "
"""How a message begins that a node of tests/graphs/endings.py makes itself."""
Marks = Mapping[str, Sequence[str]]
"""Mark → how its runs may end."""


async def ends_of(caller: Caller, marks: Marks) -> dict[str, Sequence[str]]:
    """How each run that was accepted may end, once all of them have. One may have been accepted twice, where nobody
    heard of the first."""
    runs = await caller.runs()
    known = {mark: [run["run_id"] for run in runs if holds(run, mark)] for mark in marks}
    assert all(known.values()), f"of {list(marks)} only {known} were accepted"
    await caller.client.answered(*(run for found in known.values() for run in found))
    return {run: allowed for mark, allowed in marks.items() for run in known[mark]}


async def stands(
    caller: Caller, branch: Sequence[str] | None = None, *, written: Collection[str] = (), whole: bool = True
) -> None:
    """Of a thread at rest. `branch`: the marks along which it came to be; None: all runs. `written`: ids of messages
    that somebody wrote into the state. `whole`: no run of it was broken off. Raises AssertionError."""
    runs = await caller.runs()
    requests = sorted(caller.client.view.users.values(), key=lambda frame: frame["seq"])
    assert len(runs) == len(requests), f"{len(runs)} runs, and {len(requests)} were shown"
    told = [(run, frame["requestId"]) for run, frame in zip(runs, requests, strict=True)]
    along = [[(run, request) for run, request in told if holds(run, mark)] for mark in branch or ()]
    once = all(len(found) == 1 for found in along)
    told = [found[-1] for found in along] if along else told
    messages = (await caller.values())["messages"]
    ids = [message["id"] for message in messages]
    assert len(set(ids)) == len(ids), f"twice in the state: {ids}"
    assert set(written) <= set(ids), f"of {written} some are not in the state: {ids}"
    found = [_said(message) for message in messages if message["id"] not in written]
    expected = conversation(caller.client, told, present={*ids})
    if once:  # or nobody can tell on which branch the other one stands
        assert found == expected, f"the state holds {found}, and said was {expected}"
    if whole:
        _answered(messages, written)
    for stream in caller.streams:
        agrees(stream, messages, caller.client)


def conversation(
    client: Client, runs: Sequence[tuple[Mapping[str, Any], str]], *, present: Collection[str]
) -> list[Said]:
    """What was said and answered along these runs, each with its request, as a chat client was told it. A run that was
    stopped before it showed anything leaves its message `present`, by id, or not: it may not have begun."""
    told: list[Said] = []
    known: set[str] = set()
    for run, request in runs:
        given = run["kwargs"]["input"] or {}
        end = client.view.ends[request]
        in_vain = end["type"] == "cancelled" and not end.get("message")
        for message in given.get("messages", ()):
            if message["id"] not in known and (message["id"] in present or not in_vain):
                told.append(("human", message["content"]))
            known.add(message["id"])
        answers = end.get("message", "") if end["type"] in ("final", "cancelled") else ""
        told += [("ai", text) for text in answers.split(BETWEEN_MESSAGES) if text]
    return told


def _answered(messages: Sequence[Mapping[str, Any]], written: Collection[str]) -> None:
    """I4: each answer is what the model says to exactly what came before."""
    for number, message in enumerate(messages):
        kind, text = _said(message)
        ours = kind == "ai" and message["id"] not in written and not text.startswith(NOT_THE_MODELS)
        before = [_said(one) for one in messages[:number]]
        assert not ours or is_speech(before, text), f"{text!r} is no answer to {before}"


def agrees(stream: Stream, messages: Sequence[Mapping[str, Any]], client: Client) -> None:
    """I6, I8: no event came twice, attempts only grow, and what was streamed at last is what is committed."""
    ids = [one.id for one in stream.told]
    assert len(set(ids)) == len(ids), f"{stream.run}: told twice in {ids}"
    attempts = [one.data["attempt"] for one in stream.told if one.event == "metadata"]
    assert attempts == sorted(set(attempts)), f"{stream.run}: attempts {attempts}"
    if stream.run is None or client.view.ends[stream.run]["type"] != "final":
        return
    assert not attempts or client.view.ends[stream.run]["attempt"] >= attempts[-1], f"{stream.run}: {attempts}"
    committed = {message["id"]: _said(message)[1] for message in messages}
    for message, text in stream.texts().items():
        assert committed.get(message, text) == text, f"{stream.run}: streamed {text!r}, and {committed[message]!r} is"


def _said(message: Mapping[str, Any]) -> Said:
    content = message["content"]
    if isinstance(content, str):
        return message["type"], content
    return message["type"], "".join(block.get("text", "") for block in content)
