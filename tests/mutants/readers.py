"""Seeded bugs in what clients are shown: live sessions, subscriptions, one attempt's stream."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

READERS: Final = (
    Mutant(
        name="application_end_told_to_captured_readers",
        what="An attempt tells those who were there when it began: a client that reconnects in the middle is not told "
        "the end.",
        seen_in="a handler that kept the socket its stream had started with",
        edits=(
            Edit("application/live_sessions.py", '        "attempt",\n', '        "attempt",\n        "audience",\n'),
            Edit(
                "application/live_sessions.py",
                "        self.attempt: LiveAttempt | None = None\n",
                "        self.attempt: LiveAttempt | None = None\n"
                "        self.audience: list[Callable[[], None]] | None = None\n",
            ),
            Edit(
                "application/live_sessions.py",
                "        for wake in self.readers:\n",
                "        for wake in list(self.readers) if self.audience is None else self.audience:\n",
            ),
            Edit(
                "application/live_sessions.py",
                "        self.attempt = LiveAttempt(claim.event, claim.run, claim.log_index, reason, shows)\n",
                "        self.attempt = LiveAttempt(claim.event, claim.run, claim.log_index, reason, shows)\n"
                "        self.audience = list(self.readers)\n",
            ),
            Edit(
                "application/live_sessions.py",
                "        self._ended(event.seq)\n        self.notify()\n",
                "        self._ended(event.seq)\n        self.notify()\n        self.audience = None\n",
            ),
        ),
    ),
    Mutant(
        name="application_late_tokens_pass_the_gate",
        what="Text that an agent writes after its attempt was stopped is still shown.",
        seen_in="a stop button that hid the spinner and left the stream open",
        edits=(
            Edit(
                "application/running_attempt.py",
                "    def text(self, message_id: str, chunk: str) -> None:\n        if self.gate.open:\n",
                "    def text(self, message_id: str, chunk: str) -> None:\n        if self._live is not None:\n",
            ),
        ),
    ),
    Mutant(
        name="application_retry_appends_to_shown_text",
        what="The stream of a second attempt begins with what the first one had shown, and the new words follow.",
        seen_in="a retry inside the handler that kept its buffer",
        edits=(
            Edit(
                "application/live_sessions.py",
                "        self.attempt = LiveAttempt(claim.event, claim.run, claim.log_index, reason, shows)\n",
                "        former = self.attempt\n"
                "        self.attempt = LiveAttempt(claim.event, claim.run, claim.log_index, reason, shows)\n"
                "        if former is not None and former.event.seq == claim.event.seq:\n"
                "            for message_id, text in former.stream.messages:\n"
                "                self.attempt.stream.begin_with(message_id, text)\n",
            ),
        ),
    ),
    Mutant(
        name="application_registers_after_its_snapshot",
        what="A reader takes its snapshot first and registers afterwards: what happens in between does not wake it.",
        seen_in="a page that loaded the history and then opened the event stream",
        edits=(
            Edit(
                "application/subscribe.py",
                "        self._replay: list[Part] = []\n        live.readers[self._wake] = self._goes_on\n",
                "        self._replay: list[Part] = []\n",
            ),
            Edit(
                "application/subscribe.py",
                "            await self._news()\n",
                "            if self._wake not in self._live.readers:\n"
                "                await asyncio.sleep(0)\n"
                "                self._live.readers[self._wake] = self._goes_on\n"
                "            await self._news()\n",
            ),
        ),
    ),
    Mutant(
        name="application_gap_not_announced",
        what="A reader whose cursor cannot be served goes on from the log's end, and is not told that it missed "
        "something.",
        seen_in="a consumer with auto.offset.reset = latest",
        edits=(
            Edit(
                "application/subscribe.py",
                '        """The last log index handed to the reader."""\n',
                '        """The last log index handed to the reader."""\n        self._gap = None\n',
            ),
        ),
    ),
    Mutant(
        name="application_frames_to_strangers",
        what="Whose thread it is is not compared when a session is opened for reading: whoever knows its id reads "
        "along.",
        seen_in="a chat that checked the owner when writing, and not when subscribing",
        edits=(
            Edit(
                "application/live_sessions.py",
                "            if view is not None and view.key != key:\n"
                "                raise NotYourThread(key.thread_id)\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="application_old_snapshot_wins",
        what="A snapshot of the store overwrites what this process knows better: events that ended while it was on its "
        "way are waiting again.",
        seen_in="a client store that replaced its state with each response, in the order of arrival",
        edits=(
            Edit(
                "application/live_sessions.py",
                "        self.applied_seq = max(self.applied_seq, applied_seq)\n",
                "        self.applied_seq = applied_seq\n",
            ),
        ),
    ),
    Mutant(
        name="application_session_never_released",
        what="A session that was answered once stays in memory when its last reader has gone.",
        seen_in="a map of rooms that only grew",
        edits=(
            Edit(
                "application/live_sessions.py",
                "        if live.idle and self._live.get(live.key) is live:\n",
                "        if live.idle and not live.log_index and self._live.get(live.key) is live:\n",
            ),
        ),
    ),
    Mutant(
        name="domain_offset_counts_code_points",
        what="Offsets count characters where the protocol counts UTF-16 units: behind the first emoji they are wrong.",
        seen_in="a Python server and a JavaScript client",
        edits=(
            Edit(
                "domain/utf16.py",
                '    return len(text) + sum(character > "\\uffff" for character in text)\n',
                "    return len(text)\n",
            ),
        ),
    ),
    Mutant(
        name="domain_resume_repeats_the_part",
        what="A reader that resumes in the middle of a piece gets the whole piece again, under its first offset.",
        seen_in="a resumable stream that could only begin at a chunk",
        edits=(
            Edit(
                "domain/live_stream.py",
                "(rest := cut(part.text, offset - part.offset)):",
                "(rest := part.text if cut(part.text, offset - part.offset) else ''):",
            ),
        ),
    ),
    Mutant(
        name="domain_half_a_surrogate",
        what="A chunk that ends with half of a character is sent as it came: the character becomes two replacement "
        "signs.",
        seen_in="a proxy that decoded each chunk of a stream by itself",
        edits=(
            Edit(
                "domain/live_stream.py",
                "            chunk, self._high = chunk[:-1], chunk[-1]\n",
                "            chunk, self._high = chunk, self._high\n",
            ),
        ),
    ),
    Mutant(
        name="application_thawed_owner_begins_what_has_ended",
        what="A replica that counted an attempt, stalled and thaws begins it although its own readers have been told "
        "the event's end meanwhile: they are shown an answer behind the answer.",
        seen_in="a worker that woke up with a job in its hand and did not look whether the job was done",
        edits=(
            Edit(
                "application/live_sessions.py",
                "        if claim.event.seq <= self.applied_seq or claim.run < self.run:\n"
                '            raise Fenced(f"event {claim.event.seq} has ended or was taken over elsewhere")\n',
                "",
            ),
        ),
    ),
    Mutant(
        name="application_former_owner_shows_its_attempt_to_all",
        what="A reader that has followed a later attempt at another replica and comes to the former owner, which does "
        "not know yet that it is one, is shown the earlier attempt.",
        seen_in="sticky streams that were resumed from whichever node answered",
        edits=(
            Edit(
                "application/subscribe.py",
                "        if attempt is None or attempt.run < self._least or isinstance(",
                "        if attempt is None or isinstance(",
            ),
        ),
    ),
)
