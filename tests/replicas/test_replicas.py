"""The long run, short enough for every run, and its instruments held to their word."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.checker.history import Effect, Event, Fault, Session, Tables
from tests.end_to_end.proxy import Proxy
from tests.graphs.speech import speech
from tests.replicas.long_run import LongRun, figures
from tests.replicas.people import Habits, Person
from tests.replicas.place import Bus
from tests.replicas.provider import Billed, Provider
from tests.replicas.sights import Seen, sights, takeovers
from tests.replicas.verdict import judge

SECONDS = 10.0
LIVELY = Habits(pause_s=(0.3, 1.5), words=(5, 20, 60), messages=(2, 5), word_pause_s=0.03)


@pytest.fixture
def folder(open_folder: Path) -> Path:
    path = Path(tempfile.mkdtemp(prefix="replicas-", dir=open_folder))
    path.chmod(0o755)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("bus", ["nats", "postgres", "cut"])
@pytest.mark.asyncio
async def test_people_at_three_replicas_lose_nothing_whatever_is_done_to_them(folder: Path, bus: Bus) -> None:
    run = LongRun(11, folder, people=10, replicas=3, bus=bus, habits=LIVELY, tell=print, pause_s=1.0)
    outcome = await run.last(SECONDS)
    assert outcome.verdict.broken == []
    assert outcome.struck
    assert outcome.messages > 20
    assert sum(outcome.verdict.asked.values()) > 15, "the provider was asked about most messages"
    assert all(sight.end_s is not None for sight in outcome.verdict.sights)
    assert any(sight.watched_end_s is not None for sight in outcome.verdict.sights if sight.elsewhere)
    assert figures(outcome, bus, 3, 10)["violations"] == 0


def person_who_said(folder: Path, words: str) -> Person:
    """With one conversation whose one message was answered in attempt 2, after another replica had begun attempt 1."""
    of = {"requestId": "q"}
    begun = [{"type": "reset", "attempt": number, "reason": "started", **of} for number in (1, 2)]
    token = {"type": "token", "attempt": 2, "offset": 0, "value": words, "messageId": "m", **of}
    final = {"type": "final", "attempt": 2, "cursor": 1, "message": words, "waiting": False, "revised": False, **of}
    frames = [
        (2.1, {"type": "accepted", "seq": 1, "duplicate": False, **of}),
        (2.1, {"type": "user", "seq": 1, "content": "hello", **of}),
        (2.2, begun[0]),
        (6.5, begun[1]),
        (6.6, token),
        (7.0, final),
    ]
    lines: list[dict[str, Any]] = [
        {"kind": "open", "at": 1.0, "query": {"threadId": "p-0", "cursor": "0"}, "url": "a"},
        {"kind": "sent", "at": 2.0, "frame": {"type": "message", "content": "hello", **of}},
        *({"kind": "frame", "at": at, "frame": frame} for at, frame in frames),
        {"kind": "closed", "at": 8.0, "code": 1000},
    ]
    person = Person("p", ["a"], folder, None, Habits())  # type: ignore[arg-type]
    person.threads.append("p-0")
    person.trace("p-0").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    return person


def tables_of(words: str) -> Tables:
    payload = {"text": words, "attempt": 2, "waiting": False, "revised": False}
    return Tables(
        [Session("p-0", "local", "billed", applied_seq=1, log_index=1, run=2, head_event=1, acked=0)],
        [Event("p-0", 1, "e", "q", "user_message", {"type": "user_message", "content": "hello"})],
        [Effect("p-0", 1, 0, 1, "send_message", payload, "d", "pending")],
    )


HELLO = [("human", "hello")]
WORDS = "".join(speech(HELLO, "5a17"))
KILL = Fault("kill", 3.0, 9.0, "a", costs_attempts=True)
LOST = Billed("a", "p-0", "e", "dead", at=2.2, until=2.9, over=3.1, wrote="[dead")
DONE = Billed("b", "p-0", "e", "5a17", at=6.4, until=6.9, over=6.9, wrote=WORDS, answered=True)


def provider_of(*calls: Billed) -> Provider:
    provider = Provider()
    provider.calls["p-0"] += calls
    return provider


def test_a_kill_may_cost_a_call_and_its_takeover_is_timed(tmp_path: Path) -> None:
    verdict = judge([person_who_said(tmp_path, WORDS)], tables_of(WORDS), provider_of(LOST, DONE), [KILL], replicas=2)
    assert verdict.broken == []
    assert [one.seconds for one in verdict.takeovers] == [pytest.approx(3.5)]
    assert verdict.asked == {2: 1}
    (sight,) = verdict.sights
    assert sight.accepted_s == pytest.approx(0.1)
    assert sight.end_s == pytest.approx(5.0)
    assert sight.silence_s == pytest.approx(4.3)


def test_a_model_that_is_asked_twice_without_a_fault_is_a_violation(tmp_path: Path) -> None:
    verdict = judge([person_who_said(tmp_path, WORDS)], tables_of(WORDS), provider_of(LOST, DONE), [], replicas=2)
    assert any(broken.startswith("I14") for broken in verdict.broken)


def test_a_third_call_is_a_violation_although_a_fault_costs_one(tmp_path: Path) -> None:
    calls = provider_of(LOST, Billed("c", "p-0", "e", "0dd", at=5.0, until=5.1, over=5.1), DONE)
    verdict = judge([person_who_said(tmp_path, WORDS)], tables_of(WORDS), calls, [KILL], replicas=2)
    assert any(broken.startswith("I14") for broken in verdict.broken)


def test_words_of_another_conversation_are_a_violation(tmp_path: Path) -> None:
    strange = "".join(speech([("human", "hello"), ("ai", "twice")], "5a17"))
    done = Billed("b", "p-0", "e", "5a17", at=6.4, until=6.9, over=6.9, wrote=strange, answered=True)
    verdict = judge(
        [person_who_said(tmp_path, strange)], tables_of(strange), provider_of(LOST, done), [KILL], replicas=2
    )
    assert any("another conversation" in broken for broken in verdict.broken)


def test_words_that_the_model_never_said_are_a_violation(tmp_path: Path) -> None:
    other = "".join(speech(HELLO, "5a17")) + " more"
    verdict = judge([person_who_said(tmp_path, other)], tables_of(other), provider_of(LOST, DONE), [KILL], replicas=2)
    assert any(broken.startswith("I6") for broken in verdict.broken)


def test_a_takeover_needs_an_owner_that_was_hit_in_the_middle() -> None:
    seen = [Seen("frame", 6.5, {"type": "reset", "requestId": "q", "attempt": 2})]
    attempts = {"5a17": 2}
    elsewhere = Fault("kill", 3.0, 9.0, "b", costs_attempts=True)
    assert list(takeovers([elsewhere], [LOST, DONE], attempts, seen)) == []
    assert list(takeovers([KILL], [DONE], attempts, seen)) == []
    assert len(list(takeovers([KILL, KILL], [LOST, DONE], attempts, seen))) == 1


def test_text_that_is_taken_back_is_seen() -> None:
    frames = [
        {"type": "reset", "requestId": "q", "attempt": 1},
        {"type": "token", "requestId": "q", "attempt": 1},
        {"type": "reset", "requestId": "q", "attempt": 1},
        {"type": "reset", "requestId": "q", "attempt": 2},
        {"type": "token", "requestId": "q", "attempt": 2},
    ]
    lines = [Seen("sent", 1.0, {"type": "message", "requestId": "q"})]
    lines += [Seen("frame", 2.0 + number, frame) for number, frame in enumerate(frames)]
    (sight,) = sights(lines, [])
    assert sight.begun_anew == 1
    assert sight.elsewhere is False


@pytest.mark.asyncio
async def test_what_is_held_flows_on_later_and_what_is_cut_meanwhile_does_not() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await reader.read(10) == b"one"
        proxy.hold()
        writer.write(b"two")
        late_reader, late_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        late_writer.write(b"three")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(held := asyncio.ensure_future(reader.read(10))), 0.2)
        proxy.release()
        assert await held == b"two"
        assert await late_reader.read(10) == b"three"
        proxy.hold()
        writer.write(b"lost")
        assert proxy.cut() == 2
        for each in (reader, late_reader):
            with contextlib.suppress(ConnectionResetError):
                assert await each.read(10) == b"", "what was held when it was cut is lost"
        writer.transport.abort()
        late_writer.transport.abort()
        await asyncio.sleep(0)
