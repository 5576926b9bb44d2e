"""What a store remembers of a message: every stage with its time, nothing that was not stored."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.contracts.conversation import PLENTY, Conversation, checkpoint_id, replica_of, said, state_at
from tests.contracts.subjects import PostgresSubject, Subject
from unbroken.domain.audit import AttemptNote, EventFacts, SessionFacts
from unbroken.domain.checkpoints import CheckpointRow, StateChange
from unbroken.domain.effects import CancelTurn, EffectStatus, ReportFailure, RequestInput, ScheduleTimer, SkipEvent
from unbroken.domain.events import NewEvent, UserMessage
from unbroken.domain.ports.outbox import Reached

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def told(talk: Conversation, **which: object) -> SessionFacts:
    facts = await talk.store.audit.session(talk.thread_id, **({"limit": PLENTY} | which))  # type: ignore[arg-type]
    assert facts is not None
    return facts


async def only(talk: Conversation) -> EventFacts:
    (event,) = (await told(talk)).events
    return event


def whys(event: EventFacts) -> list[tuple[int, str | None, str | None]]:
    return [(note.run, note.why, note.because) for note in event.attempts]


def ordered(*moments: datetime | None) -> bool:
    known = [moment for moment in moments if moment is not None]
    return len(known) == len(moments) and known == sorted(known)


async def test_a_turn_is_told_from_its_arrival_to_its_acknowledgement(store: Subject) -> None:
    talk = await Conversation.begin(store)
    trace = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    claim = await talk.accepted(NewEvent("e", "r", UserMessage("hi"), trace, 2.0))
    await talk.superstep(claim, state_at(1))
    await talk.finish(claim, said("yes"), RequestInput("q", 1), state=state_at(2, parent=1))
    await store.outbox.mark({talk.thread_id: Reached(2, 0.5)}, {talk.thread_id: Reached(1)})
    event = await only(talk)
    assert event.received_at is not None
    assert timedelta(seconds=1.9) < event.accepted_at - event.received_at < timedelta(seconds=2.1)
    (note,) = event.attempts
    assert (note.run, note.owner, note.why, event.run, event.trace_context) == (1, claim.owner, "accepted", 1, trace)
    first, second = event.effects
    assert (first.type, first.log_index, first.status) == ("send_message", 1, EffectStatus.COMPLETED)
    assert (second.type, second.log_index, second.status) == ("request_input", 2, EffectStatus.EXECUTING)
    assert first.sent_at is not None
    assert ordered(event.received_at, event.accepted_at, first.created_at, first.acked_at)
    assert first.sent_at == second.sent_at
    assert second.acked_at is None
    assert [row.checkpoint_id for row in event.checkpoints] == [
        row.checkpoints[0].checkpoint_id for row in map(state_at, (1, 2))
    ]
    assert first.body is None, "what clients see is not repeated"


async def test_each_attempt_is_kept_with_the_reason_for_it(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.accept()
    again = await store.sessions.claim(talk.thread_id, replica=talk.replica.id, because="model_failed")
    assert again is not None
    expected = [(1, "accepted", None), (2, "again", "model_failed")]
    running = (await told(talk)).events[0]
    assert (whys(running), running.run, running.tries) == (expected, 2, 2)
    assert [note.head for note in running.attempts] == [None, ""], "the second one went on from nowhere"
    await store.replicas.leave(talk.replica.id)
    heir = await replica_of(store)
    assert await store.sessions.claim(talk.thread_id, replica=heir.id, because="not the heir's") is not None
    brief = await replica_of(store, lease_ttl_s=0.0)
    assert await talk.claim(brief) is None
    expected.append((3, "owner_gone", None))
    await store.replicas.renew(heir.id, lease_ttl_s=0.0)
    other = await replica_of(store)
    last = await talk.claim(other)
    assert last is not None
    expected.append((4, "lease_expired", None))
    following = (await talk.finish(last)).next
    assert following is not None
    ended, running = (await told(talk)).events
    assert (whys(ended), ended.run, ended.tries) == (expected, 4, None)
    assert ordered(ended.accepted_at, *(note.at for note in ended.attempts), ended.effects[0].created_at)
    assert (whys(running), running.tries) == ([(5, "next", None)], 1)
    assert [note.owner for note in ended.attempts] == [claim.owner, claim.owner, heir.id, other.id]
    await talk.finish(following, SkipEvent("overtaken"))
    skipped = (await told(talk)).events[1]
    assert (whys(skipped), skipped.run) == ([(5, "next", None)], None)
    assert (await talk.accept(replica=other)).claim is not None
    last_one = (await told(talk)).events[2]
    assert whys(last_one) == [(6, "accepted", None)]
    assert ordered(last_one.accepted_at, last_one.attempts[0].at)


async def test_a_message_that_a_look_finds_says_so(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.finish(claim)
    assert (await told(talk)).events[0].tries is None
    if isinstance(store, PostgresSubject):  # an accept that met the commit under way
        stale = "attempts = '[{\"run\": 1}]'"  # left by a process of an older version
        await store.pool.write(
            f"UPDATE sessions SET applied_seq = 0, tries = 0, {stale} WHERE thread_id = $1", talk.thread_id
        )
        await store.pool.write("DELETE FROM effects WHERE thread_id = $1", talk.thread_id)
        because = "of an event before"
        assert await store.sessions.claim(talk.thread_id, replica=talk.replica.id, because=because) is not None
        assert whys(await only(talk)) == [(2, "found", None)]


async def test_a_cancel_is_kept_with_its_time_after_it_was_carried_out(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.cancel(claim.event.request_id)
    waiting = await only(talk)
    assert (waiting.cancel, ordered(waiting.accepted_at, waiting.cancelled_at)) == ("cancel", True)
    await talk.cancel(claim.event.request_id)
    assert (await only(talk)).cancelled_at == waiting.cancelled_at
    await talk.finish(claim, CancelTurn("so far", claim.run), cancels=True)
    ended = await only(talk)
    assert (ended.cancelled_at, ended.cancel) == (waiting.cancelled_at, None)
    assert ordered(ended.cancelled_at, ended.effects[0].created_at)
    await talk.finish(await talk.accepted())
    assert (await told(talk)).events[1].cancelled_at is None


async def test_each_entry_keeps_the_moment_at_which_it_was_first_delivered(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for _ in range(3):
        await talk.finish(await talk.accepted())
    await store.outbox.mark({talk.thread_id: Reached(1, 90.0)}, {})
    await store.outbox.mark({talk.thread_id: Reached(2, 60.0)}, {talk.thread_id: Reached(1, 50.0)})
    await store.outbox.mark({talk.thread_id: Reached(1)}, {talk.thread_id: Reached(1)})  # a second tab, which lags
    await store.outbox.mark({talk.thread_id: Reached(2)}, {talk.thread_id: Reached(2, 30.0)})
    facts = await told(talk)
    now = facts.now
    ages = [
        [None if at is None else round((now - at).total_seconds(), -1) for at in (effect.sent_at, effect.acked_at)]
        for event in facts.events
        for effect in event.effects
    ]
    assert ages == [[90, 50], [60, 30], [None, None]]
    assert (facts.sent, facts.acked) == (2, 2)


async def test_a_socket_that_lags_changes_no_mark_and_no_moment(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for _ in range(3):
        await talk.finish(await talk.accepted())
    await store.outbox.mark({talk.thread_id: Reached(3, 90.0)}, {})
    await store.outbox.mark({talk.thread_id: Reached(1)}, {talk.thread_id: Reached(1)})
    facts = await told(talk)
    assert (facts.sent, facts.acked) == (3, 1)
    for event in facts.events:
        (effect,) = event.effects
        assert effect.sent_at is not None
        assert facts.now - effect.sent_at > timedelta(seconds=80)


async def test_racing_marks_keep_a_moment_for_every_entry(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for _ in range(4):
        await talk.finish(await talk.accepted())
    marks = [{talk.thread_id: Reached(index)} for index in (1, 4, 2, 4, 3)]
    await asyncio.gather(*(store.outbox.mark(one, one) for one in marks))
    effects = [effect for event in (await told(talk)).events for effect in event.effects]
    assert [effect.status for effect in effects] == [EffectStatus.COMPLETED] * 4
    assert all(effect.sent_at and effect.acked_at for effect in effects)


async def test_what_is_executed_is_told_with_its_tries_and_its_last_error(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), said("later"), ScheduleTimer(9.0, {"a": 1}))
    (claim,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
    await store.outbox.postpone(claim, retry_after_s=None, error="ValueError: \x00 broke")
    effect = (await only(talk)).effects[1]
    assert (effect.status, effect.tries, effect.last_error) == (EffectStatus.FAILED, 1, "ValueError: � broke")
    assert effect.body == {"type": "schedule_timer", "after_s": 9.0, "payload": {"a": 1}, "timer_id": ""}


async def test_a_dead_letter_is_revived_once_and_keeps_its_place(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), ScheduleTimer(1.0), ScheduleTimer(2.0))
    (claim,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
    await store.outbox.postpone(claim, retry_after_s=None, error="no")
    dead, waiting = (await only(talk)).effects
    assert [letter.effect_id for letter in (await store.audit.trouble(older_s=0, limit=9)).dead_letters] == [dead.id]
    assert not await store.outbox.revive(talk.thread_id, waiting.id)
    assert not await store.outbox.revive("another", dead.id)
    assert await store.outbox.revive(talk.thread_id, dead.id)
    assert not await store.outbox.revive(talk.thread_id, dead.id)
    (again,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
    assert (again.body, again.attempt_count) == (ScheduleTimer(1.0), 2)
    assert not await store.outbox.complete(claim)
    assert await store.outbox.complete(again)
    done = (await only(talk)).effects[0]
    assert (done.status, done.last_error) == (EffectStatus.COMPLETED, None)
    assert (await store.audit.trouble(older_s=0, limit=9)).dead_letters == ()


async def test_what_clients_see_is_never_tried_again(store: Subject) -> None:
    """Delivering it is the log's matter, whatever has become of it."""
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), said("yes"))
    (shown,) = (await only(talk)).effects
    for mark in (Reached(0), Reached(1)):
        await store.outbox.mark({talk.thread_id: mark}, {talk.thread_id: mark})
        assert not await store.outbox.revive(talk.thread_id, shown.id)
    assert list(await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)) == []


async def test_events_are_told_in_pages_and_by_request(store: Subject) -> None:
    talk = await Conversation.begin(store)
    for _ in range(5):
        await talk.finish(await talk.accepted())
    newest = await told(talk, limit=2)
    assert ([event.seq for event in newest.events], newest.earlier) == ([4, 5], True)
    older = await told(talk, before=4, limit=3)
    assert ([event.seq for event in older.events], older.earlier) == ([1, 2, 3], False)
    one = await told(talk, limit=2, request_id=older.events[1].request_id)
    assert ([event.seq for event in one.events], one.earlier) == ([2], False)
    assert (await told(talk, before=1, limit=2)).events == ()


def made(event: EventFacts) -> list[tuple[str, int | None, int | None]]:
    return [(row.checkpoint_ns, row.step, row.run) for row in event.checkpoints]


async def test_checkpoints_belong_to_the_attempt_that_made_them(store: Subject) -> None:
    talk = await Conversation.begin(store)
    claim = await talk.accepted()
    await talk.superstep(claim, state_at(1))
    again = await talk.claim()
    assert again is not None
    assert made(await only(talk)) == [("", 1, 1)]
    await talk.superstep(again, state_at(2, parent=1))
    assert made(await only(talk)) == [("", 1, 1), ("", 2, 2)]
    await talk.finish(again, state=state_at(3, parent=2))
    second = await talk.accepted()
    await talk.superstep(second, state_at(4, parent=3))
    await talk.finish(second, ReportFailure("model_failed", "no", second.run), reverts=True)
    last = await talk.accepted()
    row = state_at(5, ns="sub").checkpoints[0]
    metadata = b'{"step": 0, "source": "loop", "parents": {"": "%s"}}' % checkpoint_id(6).encode()
    checkpoint = b'{"v": 4, "ts": "2026-11-29T01:02:03.5+00:00", "channel_versions": {}}'
    called = CheckpointRow("sub", row.checkpoint_id, None, checkpoint, metadata)
    await store.checkpoints.put(talk.thread_id, StateChange(checkpoints=(called,)))
    await talk.superstep(last, state_at(6, parent=3))
    await talk.finish(last, state=state_at(7, parent=6))
    events = (await told(talk)).events
    assert [made(event) for event in events] == [
        [("", 1, 1), ("", 2, 2), ("", 3, 2)],
        [],  # what was rolled back
        [("sub", 0, 4), ("", 6, 4), ("", 7, 4)],
    ]
    assert events[2].checkpoints[0].at == datetime.fromisoformat("2026-11-29T01:02:03.5+00:00")


async def test_threads_that_are_not_there_have_no_story(store: Subject) -> None:
    talk = await Conversation.begin(store)
    assert await store.audit.session(talk.thread_id, limit=9) is None
    await talk.finish(await talk.accepted())
    await store.outbox.mark({talk.thread_id: Reached(1)}, {})
    await store.threads.delete(talk.key.user_id, talk.thread_id)
    assert await store.audit.session(talk.thread_id, limit=9) is None


async def test_what_is_stuck_is_found_with_whoever_should_work_on_it(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), said("later"), ScheduleTimer(0.0), ScheduleTimer(900.0))
    claim = await talk.accepted(talk.new(request_id="stuck"))
    await talk.accept()
    await talk.cancel("stuck")
    await store.timers.schedule(talk.thread_id, "t", after_event=PLENTY, created_by="e", after_s=-5.0, payload=None)
    quiet = await store.audit.trouble(older_s=60, limit=9)
    assert (quiet.unfinished, quiet.overdue, quiet.timers) == ((), (), ())
    facts = await store.audit.trouble(older_s=0, limit=9)
    (event,) = facts.unfinished
    assert (event.key, event.seq, event.request_id, event.waiting) == (talk.key, 2, "stuck", 2)
    assert (event.tries, event.run, event.why, event.owner) == (1, claim.run, "accepted", talk.replica.name)
    assert event.lease_until is not None
    assert event.lease_until > facts.now
    assert ordered(event.accepted_at, event.attempt_at, facts.now)
    assert event.cancelled_at is not None
    assert [(effect.type, effect.tries) for effect in facts.overdue] == [("schedule_timer", 0)]
    assert [timer.timer_id for timer in facts.timers] == ["t"]
    assert facts.replicas_alive == 1
    await replica_of(store)
    await replica_of(store, lease_ttl_s=0.0)
    await store.replicas.leave(talk.replica.id)
    facts = await store.audit.trouble(older_s=0, limit=9)
    assert facts.replicas_alive == 1, "one has left, another one is silent"
    (event,) = facts.unfinished
    assert (event.owner, event.lease_until) == (None, None)


async def test_an_effect_that_waits_behind_another_is_not_overdue(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted(), ScheduleTimer(1.0), ScheduleTimer(2.0))
    first, _ = (await only(talk)).effects
    assert [late.effect_id for late in (await store.audit.trouble(older_s=0, limit=9)).overdue] == [first.id]
    (claim,) = await store.outbox.claim(replica=talk.replica.id, limit=PLENTY, until_s=9)
    await store.outbox.postpone(claim, retry_after_s=90.0, error="no")
    assert (await store.audit.trouble(older_s=0, limit=9)).overdue == (), "the next try is not due yet"
    await store.outbox.postpone(claim, retry_after_s=None)
    assert not await store.outbox.revive(talk.thread_id, first.id)


async def test_no_more_is_found_than_was_asked_for(store: Subject) -> None:
    for _ in range(2):
        talk = await Conversation.begin(store)
        await talk.finish(await talk.accepted(), ScheduleTimer(1.0), ScheduleTimer(2.0))
        await talk.accepted()
        await store.timers.schedule(talk.thread_id, "t", after_event=PLENTY, created_by="e", after_s=-5.0, payload=None)
    replica = await replica_of(store)
    for claim in await store.outbox.claim(replica=replica.id, limit=PLENTY, until_s=9):
        await store.outbox.postpone(claim, retry_after_s=None, error="no")
    for limit in (1, 2, 3):
        facts = await store.audit.trouble(older_s=0, limit=limit)
        found = (facts.unfinished, facts.overdue, facts.dead_letters, facts.timers)
        assert [len(part) for part in found] == [min(limit, 2)] * 4


async def test_what_was_not_stored_stays_unknown(store: Subject) -> None:
    """Rows of an older version, and attempts that an older version counted beside this one."""
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    if not isinstance(store, PostgresSubject):
        return
    await store.outbox.mark({talk.thread_id: Reached(1)}, {})
    await store.pool.write("UPDATE effects SET attempts = NULL WHERE thread_id = $1", talk.thread_id)
    await store.pool.write("DELETE FROM delivery_marks WHERE thread_id = $1", talk.thread_id)
    old = await only(talk)
    assert (old.received_at, old.attempts, old.run) == (None, (), 1)
    claim = await talk.accepted()
    older = "SELECT * FROM unbroken_claim_v1($1, $2)"  # the same replica, as its former version
    (counted,) = await store.pool.write(older, talk.thread_id, talk.replica.id)
    assert counted["run"] == claim.run + 1
    last = await talk.claim()
    assert last is not None
    await talk.finish(last)
    await store.outbox.mark({talk.thread_id: Reached(2)}, {})
    first, second = (await told(talk)).events
    assert first.effects[0].status is EffectStatus.EXECUTING
    assert first.effects[0].sent_at is None, "the first mark that was kept says nothing of what was sent before"
    assert second.effects[0].sent_at is not None
    assert whys(second) == [(2, "accepted", None), (4, "again", None)]
    (stale,) = await store.pool.write("SELECT * FROM unbroken_claim_v1($1, $2)", talk.thread_id, talk.replica.id)
    assert not stale["claimed"]


async def test_an_attempt_of_an_older_version_counts_although_nothing_is_known_of_it(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.accepted()
    if not isinstance(store, PostgresSubject):
        return
    await store.pool.write("UPDATE sessions SET attempts = NULL WHERE thread_id = $1", talk.thread_id)
    last = await talk.claim()
    assert last is not None
    running = await only(talk)
    assert (whys(running), running.tries) == ([(2, "again", None)], 2)
    await talk.finish(last)
    (unknown, known) = (await only(talk)).attempts
    assert unknown == AttemptNote(1)
    assert (known.run, known.why) == (2, "again")


async def test_notes_of_an_event_before_are_not_those_of_the_one_that_runs(store: Subject) -> None:
    """A process of an older version ended the event before: it left the notes in the session's row."""
    talk = await Conversation.begin(store)
    await talk.finish(await talk.accepted())
    claim = await talk.accepted()
    if not isinstance(store, PostgresSubject):
        return
    stale = """UPDATE sessions SET attempts = '[{"run": 1, "why": "accepted"}]' WHERE thread_id = $1"""
    await store.pool.write(stale, talk.thread_id)
    running = (await told(talk)).events[1]
    assert (whys(running), running.run, running.tries) == ([], claim.run, 1)
    (stuck,) = (await store.audit.trouble(older_s=0, limit=9)).unfinished
    assert (stuck.run, stuck.why, stuck.attempt_at) == (claim.run, None, None)
