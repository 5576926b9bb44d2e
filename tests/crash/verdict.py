"""What must be true when the faults are over, decided from the recordings, the tables and the nodes' own log.

Nothing here knows how the product works: only what was said, what was shown, and what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.crash.recordings import log_of, replayed, shown_texts
from tests.end_to_end.tables import StoredThread
from tests.graphs.speech import Said, is_speech, salt_of, speech

Lines = list[dict[str, Any]]
NODES = ("gather", "weigh", "write")
BETWEEN_MESSAGES = "\n\n"


def broken_laws(thread: StoredThread, sent: Mapping[str, str], views: Mapping[str, Lines]) -> list[str]:
    """Every law that one thread broke; `sent`: request id → text, `views`: name → recording."""
    return [
        *_stored(thread, sent),
        *_answers(thread),
        *(f"{name}: {fault}" for name, lines in views.items() for fault in _seen(thread, lines)),
    ]


def _stored(thread: StoredThread, sent: Mapping[str, str]) -> Iterator[str]:
    """I1, I2, I3: everything sent is one event, and each event has exactly one end in the log."""
    if [event.seq for event in thread.events] != list(range(1, len(thread.events) + 1)):
        yield f"seq has gaps: {[event.seq for event in thread.events]}"
    if sorted(event.request_id for event in thread.events) != sorted(sent):
        yield f"stored requests {[event.request_id for event in thread.events]} are not the sent ones {sorted(sent)}"
    if [effect.log_index for effect in thread.log] != list(range(1, thread.log_index + 1)):
        yield f"the log has gaps: {[effect.log_index for effect in thread.log]} up to {thread.log_index}"
    if thread.applied_seq != len(thread.events):
        yield f"applied {thread.applied_seq} of {len(thread.events)} events"
    if [effect.event_seq for effect in thread.log] != [event.seq for event in thread.events]:
        yield f"ends {[effect.event_seq for effect in thread.log]} for {len(thread.events)} events"
    for effect in thread.log:
        if effect.type != "send_message":
            yield f"event {effect.event_seq} ended in {effect.type}: {effect.payload}"


def _answers(thread: StoredThread) -> Iterator[str]:
    """I4: each answer is what the model says to exactly the conversation that came before it."""
    for effect, conversation in zip(thread.log, _conversations(thread).values(), strict=False):
        if not _said(conversation, effect.payload.get("text", "")):
            yield f"event {effect.event_seq} was answered from another conversation: {effect.payload}"


def _seen(thread: StoredThread, lines: Lines) -> Iterator[str]:
    """I6, I8, S5: the log once and in order, nothing against the protocol, no text of two attempts."""
    yield from replayed(lines).faults
    log = log_of(lines)
    if [frame["cursor"] for frame in log] != list(range(1, thread.log_index + 1)):
        yield f"cursors seen: {[frame['cursor'] for frame in log]}"
    if [frame.get("message") for frame in log] != [effect.payload.get("text") for effect in thread.log]:
        yield "the log seen is not the log stored"
    conversations = _conversations(thread)
    alien: dict[str, str] = {}
    for request_id, text in shown_texts(lines):
        if not _said(conversations[request_id], text, so_far=True):
            alien.setdefault(request_id, text)
    yield from (f"{request_id}: no attempt ever said {text!r}" for request_id, text in alien.items())


def _conversations(thread: StoredThread) -> dict[str, list[Said]]:
    """Request id → all that was said up to and including its message, if nothing was lost, doubled or swapped."""
    said: list[Said] = []
    conversations = {}
    ends = {effect.event_seq: effect.payload for effect in thread.log}
    for event in thread.events:
        said.append(("human", event.payload["content"]))
        conversations[event.request_id] = list(said)
        said += [("ai", text) for text in ends.get(event.seq, {}).get("text", "").split(BETWEEN_MESSAGES)]
    return conversations


def _said(conversation: list[Said], text: str, *, so_far: bool = False) -> bool:
    """Whether one attempt said `text`: message after message, each in reply to all before.
    `so_far`: or its beginning."""
    conversation = list(conversation)
    messages = text.split(BETWEEN_MESSAGES)
    for message in messages[:-1]:
        if not is_speech(conversation, message):
            return False
        conversation.append(("ai", message))
    whole = "".join(speech(conversation, salt_of(messages[-1])))
    return whole.startswith(messages[-1]) if so_far else whole == messages[-1]


def nodes_run_again(log: Path, events: Sequence[str]) -> list[str]:
    """Executions of a node after a later one of the same event had begun; in superstep mode there are none."""
    reached: dict[str, int] = {}
    again = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        execution = json.loads(line)
        event, position = execution["event"], NODES.index(execution["node"])
        if event in events and position < reached.get(event, 0):
            again.append(f"{execution['node']} of {event} ran again after {NODES[reached[event]]} had begun")
        reached[event] = max(position, reached.get(event, 0))
    return again
