"""Seeded bugs in how a turn is counted, ended and owed for: use cases and stores."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

UNIT: Final = "adapters/memory/unit_of_work.py"
OUTBOX: Final = "adapters/memory/outbox.py"

TURNS: Final = (
    Mutant(
        name="application_finish_ignores_a_cancel",
        what="An answer that is ready is committed as if the cancel had been its own: a cancel that was accepted while "
        "the turn finished is followed by `final`.",
        seen_in="a stop button that lost against the end of the answer",
        edits=(
            Edit(
                "application/turn_end.py",
                "        change = TurnChange(claim, answer.state, True, tuple(effects), "
                "open_questions=questions.open)\n",
                "        change = TurnChange(claim, answer.state, True, tuple(effects), cancels=True, "
                "open_questions=questions.open)\n",
            ),
        ),
    ),
    Mutant(
        name="application_final_before_its_commit",
        what="Readers are told the end before the commit stands: if it is fenced, or refused because of a cancel, they "
        "were shown a `final` that never was.",
        seen_in="a worker that published the result and then saved it",
        edits=(
            Edit(
                "application/turn_end.py",
                "from unbroken.domain.effects import CancelTurn,",
                "from unbroken.domain.effects import LogEntry  # isort: skip\n"
                "from unbroken.domain.effects import CancelTurn,",
            ),
            Edit(
                "application/turn_end.py",
                "        committed = await self._insist(lambda: self._commit(change), claim)\n",
                "        logged = [effect.body for effect in change.effects if effect.logged]\n"
                "        entries = [\n"
                "            LogEntry(index, claim.event, body)  # type: ignore[arg-type]\n"
                "            for index, body in enumerate(logged, claim.log_index + 1)\n"
                "        ]\n"
                "        self._live.end(claim, entries)\n"
                "        committed = await self._insist(lambda: self._commit(change), claim)\n",
            ),
        ),
    ),
    Mutant(
        name="application_doubtful_accept_under_a_new_key",
        what="An accept whose answer was lost is taken for a failure and sent again under a key of its own: if the "
        "first was stored after all, the message is there twice.",
        seen_in="an HTTP client that made its idempotency key per try and not per request",
        edits=(
            Edit(
                "application/accept_event.py",
                "                self._wakeups.hint(thread_id)\n                raise\n",
                "                self._wakeups.hint(thread_id)\n"
                '                again = NewEvent(self._new_id(), f"{request_id}~", body, dict(trace_context or {}))\n'
                "                receipt = await self._event_store.accept(\n"
                "                    key, again, replica=self._replica, queue_limit=self._queue_limit, "
                "when_busy=when_busy\n"
                "                )\n",
            ),
        ),
    ),
    Mutant(
        name="application_look_beside_an_accept",
        what="A look does not wait for an accept that is on its way: the attempt which the accept has counted is "
        "counted again, and runs twice without any fault.",
        seen_in="a poller that raced the fast path of its own process",
        edits=(
            Edit(
                "application/session_doors.py",
                "                last_out = self._last_out[thread_id] = asyncio.Event()\n"
                "                await last_out.wait()\n",
                "                self._last_out.pop(thread_id, None)\n",
            ),
        ),
    ),
    Mutant(
        name="application_settles_beside_a_superstep",
        what="A stopped attempt is settled without waiting for the superstep whose commit is under way: the history is "
        "made whole from a head that is about to move.",
        seen_in="a cancel that repaired the history while the last write was in flight",
        edits=(
            Edit(
                "application/running_attempt.py",
                "            await asyncio.wait({self._superstep})\n            self._superstep.result()\n",
                "            self._superstep.add_done_callback(lambda done: done.cancelled() or done.exception())\n",
            ),
        ),
    ),
    Mutant(
        name="application_effect_completed_before_it_is_done",
        what="An effect is marked completed, and then executed: if the process dies between the two, or the execution "
        "fails, nobody does it.",
        seen_in="a consumer that committed its offset before it processed the message",
        edits=(
            Edit(
                "application/effect_runner.py",
                "            if isinstance(claim.body, ScheduleTimer):\n"
                "                await self._schedule(claim, claim.body)\n"
                "            await self._outbox.complete(claim)\n",
                "            await self._outbox.complete(claim)\n"
                "            if isinstance(claim.body, ScheduleTimer):\n"
                "                await self._schedule(claim, claim.body)\n",
            ),
        ),
    ),
    Mutant(
        name="memory_duplicate_runs_again",
        what="A repeat of a message that is being answered begins another attempt at it.",
        seen_in="a double click on the send button",
        edits=(
            Edit(
                "adapters/memory/event_store.py",
                "            if known := self._known(session, key, new, digest):\n                return known\n",
                "            if known := self._known(session, key, new, digest):\n"
                "                if known.event.seq != session.applied_seq + 1:\n"
                "                    return known\n"
                "                session, claim = count_attempt(transaction, session, replica)\n"
                "                transaction.put_session(session)\n"
                "                return replace(known, claim=claim)\n",
            ),
            Edit(
                "application/accept_event.py",
                "            if receipt.duplicate:\n",
                "            if receipt.duplicate and receipt.claim is None:\n",
            ),
        ),
    ),
    Mutant(
        name="memory_lease_read_by_another_clock",
        what="A claim compares leases with the time of day, while they are written by the monotonic clock: every "
        "lease is long over, the claimer's own too, and nobody takes anything over.",
        seen_in="a lock service whose clients compared expiries with their own clocks",
        edits=(
            Edit(
                "adapters/memory/sessions.py",
                "            if not _may_take(transaction, session, replica, self._clock.monotonic()):\n",
                "            if not _may_take(transaction, session, replica, self._clock.now().timestamp()):\n",
            ),
        ),
    ),
    Mutant(
        name="memory_leaving_keeps_the_lease",
        what="A replica that stops does not give its lease back: what its drain left waits until the lease is over.",
        seen_in="a deploy after which the queue stood still for a minute",
        edits=(
            Edit(
                "adapters/memory/replicas.py",
                '        await self._database.run("leave", lambda transaction: transaction.leases.remove(replica))\n',
                '        await self._database.run("leave", lambda transaction: None)\n',
            ),
        ),
    ),
    Mutant(
        name="memory_cancel_of_a_waiting_event_is_lost",
        what="The end of one event removes the cancels of those behind it.",
        seen_in="a session-wide cancel flag that each turn reset",
        edits=(
            Edit(
                UNIT,
                "                controls={marked: kind for marked, kind in session.controls.items() if "
                "marked > seq},\n",
                "                controls={},\n",
            ),
        ),
    ),
    Mutant(
        name="memory_superstep_does_not_say_whose_it_is",
        what="A superstep moves the head without noting which event wrote it: after a crash the message is given anew "
        "to a state that holds it.",
        seen_in="a checkpoint without the input's position",
        edits=(
            Edit(
                UNIT,
                "        session = replace(session, head_event=change.claim.event.seq)\n",
                "        session = replace(session, head_event=change.claim.event.seq if "
                "change.finishes else session.head_event)\n",
            ),
        ),
    ),
    Mutant(
        name="memory_failed_effect_goes_to_the_tail",
        what="An effect that failed once waits behind its session's others, and they overtake it.",
        seen_in="a queue that re-enqueued what failed",
        edits=(
            Edit(
                OUTBOX,
                "owed=tuple(key for key in effects if key in owed)))\n",
                "owed=tuple(sorted((key for key in effects if key in owed), key=effect.dedupe_key.__eq__))))\n",
            ),
        ),
    ),
    Mutant(
        name="memory_late_executor_ends_anothers_claim",
        what="Whoever executed an effect may end it, although its claim is over and another one executes it.",
        seen_in="a lock that was released by its name, not by its token",
        edits=(
            Edit(
                OUTBOX,
                "            if effect.claim_no != claim.claim_no or effect.status is not EffectStatus.EXECUTING:\n",
                "            if effect.status is not EffectStatus.EXECUTING:\n",
            ),
        ),
    ),
    Mutant(
        name="memory_last_ack_wins",
        what="The acknowledged cursor is the one that came last, not the highest: a second client that lags behind "
        "takes back what the first one has acknowledged.",
        seen_in="read markers of a chat with two devices",
        edits=(
            Edit(
                OUTBOX,
                'tops.get("acked", old.acked), (*old',
                "acked[thread_id].log_index if thread_id in acked else old.acked, (*old",
            ),
        ),
    ),
    Mutant(
        name="postgres_failed_effect_goes_to_the_tail",
        what="An effect that failed once waits behind its session's others, and they overtake it.",
        seen_in="a queue ordered by its rows' next try",
        edits=(
            Edit(
                "adapters/postgres/outbox.py",
                "ORDER BY f.thread_id, f.event_seq, f.ordinal\n",
                "ORDER BY f.thread_id, f.attempt_count, f.event_seq, f.ordinal\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_checkpoint_and_outbox_apart",
        what="A finishing commit is two transactions: the checkpoint first, then effects and progress. Who dies "
        "between them gives the message to a state that holds it already.",
        seen_in="a checkpointer with a connection of its own, beside the application's database",
        edits=(
            Edit(
                "adapters/postgres/unit_of_work.py",
                "from unbroken.domain.effects import LogEntry,",
                "from unbroken.domain.checkpoints import StateChange  # isort: skip\n"
                "from unbroken.domain.effects import LogEntry,",
            ),
            Edit(
                "adapters/postgres/unit_of_work.py",
                "        prune = change.finishes and self._keep_branches is not None and prunes(claim.event.seq)\n",
                "        prune = change.finishes and self._keep_branches is not None and prunes(claim.event.seq)\n"
                "        if change.finishes and change.state.checkpoints:\n"
                "            await self.commit(TurnChange(claim, change.state, finishes=False))\n"
                "            await self._pool.write(\n"
                '                "UPDATE sessions SET head_event = $2 WHERE thread_id = $1",\n'
                "                claim.key.thread_id,\n"
                "                claim.head_event,\n"
                "            )\n"
                "            change = TurnChange(\n"
                "                claim,\n"
                "                StateChange(heads=change.state.heads),\n"
                "                True,\n"
                "                change.effects,\n"
                "                change.reverts,\n"
                "                change.cancels,\n"
                "                change.open_questions,\n"
                "            )\n",
            ),
        ),
    ),
)
