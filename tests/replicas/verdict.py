"""What the checker says, conversation by conversation: the traces of all of them would not fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from tests.checker.check import violations_of
from tests.checker.history import Fault, History, Socket, Tables, read_trace
from tests.graphs.speech import is_speech
from tests.replicas.people import Person
from tests.replicas.provider import Billed, Provider, as_calls, attempts_of
from tests.replicas.sights import Sight, Takeover, read, sights, takeovers
from tests.soak.soak import by_thread

NOTHING = Tables([], [], [])


class Verdict(Struct):
    """Of all conversations together."""

    broken: list[str] = []
    sights: list[Sight] = []
    takeovers: list[Takeover] = []
    asked: Counter[int] = field(default_factory=Counter)
    """How many events the model was asked about so often."""
    threads: int = 0


def judge(
    people: Sequence[Person], tables: Tables, provider: Provider, faults: Sequence[Fault], *, replicas: int
) -> Verdict:
    """`faults`: everything that was done to the system, as often as it may cost an attempt."""
    verdict = Verdict(threads=len(tables.sessions))
    rows = by_thread(tables)
    spoken_of = {thread for person in people for thread in person.threads}
    verdict.broken += [f"{thread}: nobody here has spoken in it" for thread in rows.keys() - spoken_of]
    for person in people:
        verdict.broken += person.broken
        for thread in person.threads:
            mine = rows.get(thread, NOTHING)
            calls = provider.calls.get(thread, [])
            counts = {thread: tables.counts[thread]} if thread in tables.counts else {}
            mine = Tables(mine.sessions, mine.events, mine.effects, timers=mine.timers, counts=counts)
            _conversation(verdict, person, thread, mine, calls, faults, replicas)
    return verdict


def _conversation(
    verdict: Verdict,
    person: Person,
    thread: str,
    tables: Tables,
    calls: Sequence[Billed],
    faults: Sequence[Fault],
    replicas: int,
) -> None:
    traces = [person.trace(thread), *([person.trace(thread, watcher=True)] if thread in person.watched else [])]
    sockets = [socket for trace in traces for socket in read_trace(trace)]
    attempts = attempts_of(sockets, tables.effects)
    history = History(
        sockets,
        tables,
        as_calls(calls, attempts),
        near(faults, sockets),
        watched_to_the_end=frozenset(trace.stem for trace in traces) if not person.broken else frozenset(),
        replicas=replicas,
    )
    verdict.broken += [str(violation) for violation in violations_of(history)]
    verdict.broken += [f"{thread}: {strange}" for strange in strange_answers(tables)]
    verdict.asked.update(Counter(call.event_id for call in calls).values())
    seen = [read(trace) for trace in traces]
    verdict.sights += sights(seen[0], seen[1] if len(seen) > 1 else [])
    verdict.takeovers += takeovers(faults, calls, attempts, [line for lines in seen for line in lines])


def near(faults: Sequence[Fault], sockets: Sequence[Socket]) -> list[Fault]:
    """Those that this conversation lived to see."""
    if not sockets:
        return []
    begin = min(socket.opened_at for socket in sockets)
    end = max((line.at for socket in sockets for line in socket.lines), default=begin)
    return [fault for fault in faults if fault.meets("", begin, end)]


def strange_answers(tables: Tables) -> Iterator[str]:
    """I4, in the model's own words: each answer was given to exactly the conversation before it. Up to the first
    message that had no answer; what the history then holds is checked elsewhere."""
    if not tables.sessions or tables.sessions[0].agent_id != "billed":
        return
    ends = {effect.event_seq: effect for effect in tables.effects if effect.log_index is not None}
    conversation: list[tuple[str, str]] = []
    for event in sorted(tables.events, key=lambda event: event.seq):
        end = ends.get(event.seq)
        if end is None or end.type != "send_message":
            return
        conversation.append(("human", event.payload["content"]))
        if not is_speech(conversation, end.payload["text"]):
            yield f"event {event.seq} was answered from another conversation: {end.payload['text']!r}"
            return
        conversation.append(("ai", end.payload["text"]))
