"""I6 against the model: an attempt's text is what the agent wrote in that very attempt, and an answer is the agent's.

Rule 2 gives the text: the attempt's messages in the order they began, joined by a blank line. Rule 5 lets `revised`
excuse one thing: that the agent's answer does not begin with what the agent wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.checker.history import Call, Effect, Violation, units
from tests.checker.threads import Talk, Thread

BETWEEN_MESSAGES = "\n\n"


def spoken_violations(thread: Thread, talk: Talk, calls: Sequence[Call]) -> Iterator[Violation]:
    known = {call.attempt: call for call in calls if call.wrote is not None}
    if known:
        yield from _shown(thread, talk, known)
        yield from _stored(thread, known)


def _shown(thread: Thread, talk: Talk, calls: Mapping[int, Call]) -> Iterator[Violation]:
    """No token is anything else than what its attempt's agent wrote there."""
    texts = {attempt: units(_whole(call)) for attempt, call in calls.items()}
    for socket, line in talk.told.get("token", ()):
        frame = line.frame
        text = texts.get(frame["attempt"])
        if text is None:
            continue
        begin, value = 2 * frame["offset"], units(frame["value"])
        if text[begin : begin + len(value)] != value:
            what = f"{socket.name}: attempt {frame['attempt']} never wrote what is shown of it at {frame['offset']}"
            yield Violation("I6", thread.thread_id, what, (frame, calls[frame["attempt"]]))
            return


def _stored(thread: Thread, calls: Mapping[int, Call]) -> Iterator[Violation]:
    for row in thread.logged:
        call = calls.get(row.payload.get("attempt", 0))
        if call is not None and row.type == "send_message":
            yield from _answer(thread, call, row)
        elif call is not None and row.type == "cancel_turn":
            text = row.payload.get("text", "")
            if not any(whole.startswith(text) for whole in _stopped(call, calls.values())):
                yield Violation("I6", thread.thread_id, "a stopped answer is not what its attempt wrote", (row, call))


def _stopped(call: Call, calls: Iterable[Call]) -> Iterator[str]:
    """What may be kept of a stopped attempt, or the beginning of it.

    One that goes on inside its event has the text that is already committed (rule 2), which a former attempt wrote,
    even if it was stopped before it wrote anything.
    """
    yield _whole(call)
    if not wrote(call):
        yield from (
            _whole(other) for other in calls if other.event_id == call.event_id and other.attempt < call.attempt
        )


def _answer(thread: Thread, call: Call, row: Effect) -> Iterator[Violation]:
    if call.answer is None:
        what = f"attempt {call.attempt} ended in an answer that its agent did not give"
        yield Violation("I7", thread.thread_id, what, (row, call))
    elif row.payload.get("text", "") != call.answer:
        yield Violation("I6", thread.thread_id, f"attempt {call.attempt} did not answer what is stored", (row, call))
    elif row.payload.get("revised") and call.answer.startswith(wrote(call)):
        what = f"attempt {call.attempt} says `revised`, and its agent answered what it had written"
        yield Violation("rule 5", thread.thread_id, what, (row, call))


def wrote(call: Call) -> str:
    """An attempt's text, as far as its agent streamed it."""
    return BETWEEN_MESSAGES.join(text for text in call.wrote or () if text)


def _whole(call: Call) -> str:
    """With what the answer adds to it."""
    text = wrote(call)
    return call.answer if call.answer is not None and call.answer.startswith(text) else text
