"""Seeded bugs in what is decided about questions, timers and boots."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

RULES: Final = (
    Mutant(
        name="domain_question_answered_twice",
        what="An answer is given to the agent whether its question is open or not: a second approval runs on from a "
        "state that waits for nothing.",
        seen_in="an approval button in two tabs, each of which resumed the run",
        edits=(
            Edit(
                "domain/policy.py",
                "    if isinstance(body, InputResponse) and body.interrupt_id not in claim.open_questions:\n"
                "        return Opening.QUESTION_CLOSED\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="domain_follow_up_talks_over_its_user",
        what="A timer that fired just before a message of the user is still answered: the follow-up comes between the "
        "user's words and their answer.",
        seen_in="'are you still there?' nudges whose cancel came too late for the queue",
        edits=(
            Edit(
                "domain/policy.py",
                "    if isinstance(body, TimerFired) and claim.superseded and claim.begins:\n"
                "        return Opening.SKIP\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="memory_timer_set_after_its_user_has_spoken",
        what="A timer that is set late does not look for what was said meanwhile: the follow-up comes although the "
        "user has spoken since.",
        seen_in="reminders that were set by a worker, some time after the handler that wanted them",
        edits=(
            Edit(
                "adapters/memory/timers.py",
                '                status="cancelled" if session.last_user_seq > after_event else "pending",\n',
                '                status="pending",\n',
            ),
        ),
    ),
    Mutant(
        name="memory_repeated_effect_sets_its_timer_again",
        what="Setting a timer is not compared with what the same effect has set before: executed again, after a "
        "completion whose answer was lost, it sets one that has fired already.",
        seen_in="at-least-once consumers whose handler was not idempotent",
        edits=(
            Edit(
                "adapters/memory/timers.py",
                "            if created_by in setters:\n                return\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="memory_former_boot_stays_a_member",
        what="A new boot leaves the lease of the former one of its name alone: what that one held waits until the "
        "lease is over, and if it only stalled, it goes on committing.",
        seen_in="a cluster in which a restarted node waited for its own dead session",
        edits=(
            Edit(
                "adapters/memory/replicas.py",
                "                if lease.name == name or lease.expires < self._clock.monotonic() - LONG_GONE_S:\n",
                "                if lease.name == name and lease.expires < self._clock.monotonic():\n",
            ),
        ),
    ),
)
