"""Seeded bugs in the use cases."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

USE_CASES: Final = (
    Mutant(
        name="ack_trusts_the_client",
        what="A cursor that was never handed out is taken for an acknowledgement.",
        seen_in="a chat relay that marked messages read by the client's word",
        edits=(
            Edit(
                "application/acknowledge.py",
                "        if cursor > log_index or cursor < 0:\n",
                "        if cursor < 0:\n",
            ),
        ),
    ),
    Mutant(
        name="sent_is_acknowledged",
        what="What was written to a socket counts as acknowledged: a dead socket's last answers are 'completed'.",
        seen_in="chat backends that mark a message delivered when socket.send returns",
        edits=(
            Edit(
                "application/acknowledge.py",
                "        self._raise(self._sent, key.thread_id, log_index)\n",
                "        self._raise(self._sent, key.thread_id, log_index)\n"
                "        self._raise(self._acked, key.thread_id, log_index)\n",
            ),
        ),
    ),
    Mutant(
        name="readers_captured_at_stream_start",
        what="Tokens wake only the readers that were there when the attempt began; who joins or reconnects in the"
        " middle sees what was there and then nothing until the end.",
        seen_in="websocket handlers that capture the socket in the streaming callback",
        edits=(
            Edit(
                "application/live_sessions.py",
                '    __slots__ = ("event", "log_index", "mirrored", "reason", "run", "shows", "stream")\n',
                '    __slots__ = ("event", "log_index", "mirrored", "readers", "reason", "run", '
                '"shows", "stream")\n\n'
                "    readers: tuple[Callable[[], None], ...]\n",
            ),
            Edit(
                "application/live_sessions.py",
                "        self.attempt = LiveAttempt(claim.event, claim.run, claim.log_index, reason, shows)\n",
                "        self.attempt = LiveAttempt(claim.event, claim.run, claim.log_index, reason, shows)\n"
                "        self.attempt.readers = tuple(self.readers)\n",
            ),
            Edit(
                "application/live_sessions.py",
                "        if live := self._live.get(key):\n            live.notify()\n",
                "        live = self._live.get(key)\n"
                "        for wake in live.attempt.readers if live and live.attempt else ():\n"
                "            wake()\n",
            ),
        ),
    ),
    Mutant(
        name="dedupe_over_the_words",
        what="An answer's dedupe key is made of its text, and an effect whose key exists is left out: the second 'OK.'"
        " of a thread is finished without an answer in the log.",
        seen_in="outboxes with a content hash as their unique key and ON CONFLICT DO NOTHING",
        edits=(
            Edit(
                "application/turn_end.py",
                '            NewEffect(self._new_id(), index, body, dedupe_key(claim.event.id, "", 0, '
                "index, _kind(body)))\n",
                '            NewEffect(self._new_id(), index, body, dedupe_key(_said(claim, body), "", '
                "0, index, _kind(body)))\n",
            ),
            Edit(
                "application/turn_end.py",
                "def _kind(body: EffectBody) -> str:\n",
                "def _said(claim: Claim, body: EffectBody) -> str:\n"
                '    return f"{claim.key.thread_id}/{body.text}" if isinstance(body, SendMessage) else claim.event.id\n'
                "\n\n"
                "def _kind(body: EffectBody) -> str:\n",
            ),
            Edit(
                "adapters/memory/unit_of_work.py",
                '        raise AssertionError(f"effect {effect.dedupe_key!r} exists already")\n',
                "        return session\n",
            ),
        ),
    ),
    Mutant(
        name="wall_clock_in_the_timer_key",
        what="A timer is set under a key with the time of day in it: executing its effect again, after a completion"
        " whose answer was lost, sets a second timer.",
        seen_in="schedulers whose job ids hold the time at which they were submitted",
        edits=(
            Edit(
                "application/effect_runner.py",
                "        await self._timers.schedule(\n            claim.thread_id,\n"
                "            timer.timer_id or claim.dedupe_key,\n            after_event=claim.event_seq,\n"
                "            created_by=claim.dedupe_key,\n",
                '        key = f"{claim.dedupe_key}@{self._clock.now().isoformat()}"\n'
                "        await self._timers.schedule(\n            claim.thread_id,\n"
                "            timer.timer_id or key,\n            after_event=claim.event_seq,\n"
                "            created_by=key,\n",
            ),
        ),
    ),
    Mutant(
        name="hint_before_the_commit",
        what="The owner elsewhere is hinted before the event is stored, and not afterwards: it looks, finds nothing,"
        " and the event waits for a poll.",
        seen_in="NOTIFY on another connection than the INSERT, sent before its commit",
        edits=(
            Edit(
                "application/accept_event.py",
                "            try:\n                receipt = await self._event_store.accept(\n",
                "            self._wakeups.hint(thread_id)\n"
                "            try:\n                receipt = await self._event_store.accept(\n",
            ),
            Edit(
                "application/accept_event.py",
                "            else:\n"
                "                self._wakeups.hint(thread_id)\n"
                "                if when_busy in CANCELS:\n"
                "                    self._queue.stop(thread_id, CANCELS[when_busy], first=0, "
                "last=receipt.event.seq - 1)\n",
                "            elif when_busy in CANCELS:\n"
                "                self._queue.stop(thread_id, CANCELS[when_busy], first=0, "
                "last=receipt.event.seq - 1)\n",
            ),
        ),
    ),
    Mutant(
        name="snapshot_before_the_subscription",
        what="A joining reader is shown a log that was read before it was subscribed, and follows from the log's end at"
        " the subscription: what was committed between the two is skipped without a gap.",
        seen_in="clients' catch-up by a history query followed by a subscribe",
        edits=(
            Edit(
                "application/subscribe.py",
                "        live = await self._live.open(key)\n        start =",
                "        missed = await self._outbox.read(key.thread_id, after=max(cursor or 0, 0), limit=PAGE)\n"
                "        live = await self._live.open(key)\n        start =",
            ),
            Edit(
                "application/subscribe.py",
                "        return self._follow(live, start, shown, whole)\n",
                "        subscription = self._follow(live, start, shown, whole)\n"
                "        subscription.missed = missed\n"
                "        return subscription\n",
            ),
            Edit(
                "application/subscribe.py",
                "        self._users: set[int] = set()\n",
                "        self._joined = live.log_index\n"
                "        self.missed: Sequence[LogEntry] | None = None\n"
                "        self._users: set[int] = set()\n",
            ),
            Edit(
                "application/subscribe.py",
                "            if self.cursor < self._live.tail_start and not self._gap:\n",
                "            if self.missed is not None and not self._gap:\n"
                "                missed, self.missed = self.missed, None\n"
                "                self._log(found, missed)\n"
                "                if len(missed) < PAGE:\n"
                "                    self.cursor = max(self.cursor, self._joined)\n"
                "            if self.cursor < self._live.tail_start and not self._gap:\n",
            ),
        ),
    ),
    Mutant(
        name="retry_appends_to_what_is_shown",
        what="A second attempt, or another owner's, streams to a reader that shows the first one without a reset: the"
        " text is two answers in one.",
        seen_in="streaming proxies that retry the model call behind an open response",
        edits=(
            Edit(
                "application/subscribe.py",
                '        found.append(ShowReset(request_id, attempt.run, "resync" if late else attempt.reason,'
                " attempt.again))\n",
                '        if late or attempt.reason == "started":\n'
                '            found.append(ShowReset(request_id, attempt.run, "resync" if late else attempt.reason,'
                " attempt.again))\n",
            ),
        ),
    ),
    Mutant(
        name="unknown_commit_is_a_success",
        what="A finishing commit whose answer was lost is taken for done: readers are told that the event has ended,"
        " without its answer, whether it was stored or not.",
        seen_in="services that log 'connection lost during COMMIT' and go on",
        edits=(
            Edit(
                "application/turn_end.py",
                "from unbroken.domain.errors import BranchGone, CancelKind, Refused, TurnFailed, Unavailable\n",
                "from unbroken.domain.errors import BranchGone, CancelKind, CommitUnknown, Refused, "
                "TurnFailed, Unavailable\n",
            ),
            Edit(
                "application/turn_end.py",
                "            return await asyncio.shield(task)\n",
                "            return await asyncio.shield(task)\n"
                "        except CommitUnknown as error:\n"
                '            log.warning("the answer to a commit was lost: %s", error, extra=about(change.claim))\n'
                "            return Committed()\n",
            ),
        ),
    ),
    Mutant(
        name="poll_dies_at_its_first_error",
        what="The poll for unfinished events ends when the store does not answer once, and nobody notices: from then on"
        " every lost hint and every crash leaves events behind.",
        seen_in="background loops with their try around the while",
        edits=(
            Edit(
                "application/recover.py",
                "        while True:\n"
                "            try:\n"
                "                await self.once()\n"
                "            except Unavailable as error:\n"
                '                log.warning("cannot look for unfinished events yet: %s", error)\n'
                "            await self._clock.sleep(self._interval_s)\n",
                "        try:\n"
                "            while True:\n"
                "                await self.once()\n"
                "                await self._clock.sleep(self._interval_s)\n"
                "        except Unavailable as error:\n"
                '            log.warning("cannot look for unfinished events: %s", error)\n',
            ),
            Edit(
                "entrypoints/service.py",
                "            await loop()\n        except Exception:\n",
                "            return await loop()\n        except Exception:\n",
            ),
        ),
    ),
    Mutant(
        name="slot_leaked_by_a_retry",
        what="A turn that is to be tried again does not give its slot back: after as many failed attempts as there are"
        " slots the replica runs nothing any more.",
        seen_in="worker pools that release their semaphore on the success path only",
        edits=(
            Edit(
                "application/event_queue.py",
                "            async with self._slot(thread_id):\n"
                "                outcome = await self._turn(thread_id, again)\n",
                "            with self._nothing_to_lose(thread_id):\n"
                "                await self._slots.acquire()\n"
                "            outcome = await self._turn(thread_id, again)\n",
            ),
            Edit(
                "application/event_queue.py",
                "                await self._pause(thread_id, again.after_s)\n",
                "                await self._pause(thread_id, again.after_s)\n"
                "                continue\n"
                "            self._slots.release()\n",
            ),
        ),
    ),
    Mutant(
        name="one_clients_ack_filters_anothers_log",
        what="A reconnecting client is served from the session's acknowledgement, if that is beyond its own cursor:"
        " what the telephone has read, the desktop never sees.",
        seen_in="one 'delivered' flag a message for all of a user's devices",
        edits=(
            Edit(
                "application/subscribe.py",
                "        start = (live.acked or 0) if cursor is None else cursor\n",
                "        start = cursor if cursor == TAIL_CURSOR else max(cursor or 0, live.acked or 0)\n",
            ),
        ),
    ),
)
