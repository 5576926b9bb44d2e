"""Seeded bugs in PostgreSQL's statements: the second half of those that the memory store has been given too."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

HIGHEST: Final = (
    "(SELECT max(c.checkpoint_id) FROM checkpoints c WHERE c.thread_id = p_thread AND c.checkpoint_ns = '')"
)

STATEMENTS: Final = (
    Mutant(
        name="postgres_next_message_deletes_undelivered",
        what="A user's next message removes what nobody has acknowledged yet.",
        seen_in="a bot gateway that cleared the pending-response slot when a new request came in",
        edits=(
            Edit(
                "migrations/versions/0003_accept.sql",
                "    IF p_from_user THEN\n",
                "    IF p_from_user THEN\n"
                "        DELETE FROM effects f WHERE f.thread_id = p_thread AND f.log_index >\n"
                "            coalesce((SELECT d.acked FROM deliveries d WHERE d.thread_id = p_thread), 0);\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_head_by_highest_id",
        what="The checkpoint that counts is the one with the highest id, not the one that the head points to: what "
        "failed, was rolled back or left for another branch is back in the agent's state.",
        seen_in="checkpointers whose 'latest' is ORDER BY checkpoint_id DESC LIMIT 1",
        edits=(
            Edit(
                "migrations/versions/0003_accept.sql",
                "        SELECT h.checkpoint_id, h.base_id INTO head, base\n",
                f"        SELECT {HIGHEST}, h.base_id INTO head, base\n",
            ),
            Edit(
                "migrations/versions/0004_claim.sql",
                "    SELECT h.checkpoint_id, h.base_id INTO head, base\n",
                f"    SELECT {HIGHEST}, h.base_id INTO head, base\n",
            ),
            Edit(
                "adapters/postgres/checkpoints.py",
                "    (SELECT h.checkpoint_id FROM heads h WHERE h.thread_id = $1 AND h.checkpoint_ns = $2),\n",
                "    NULL,\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_fence_after_the_write",
        what="The agent's state is written in a transaction of its own before the fence is asked: a fenced commit is "
        "refused, but its checkpoints and heads stand.",
        seen_in="a saver that autocommitted its rows before the UPDATE … WHERE epoch = mine",
        edits=(
            Edit(
                "adapters/postgres/unit_of_work.py",
                "NOTHING_OWED: Final[list[Any]] = [0, b",
                'WRITE: Final = f"SELECT unbroken_put_state_v1($1, false, {placeholders(2, STATE_COLUMNS)})"\n\n'
                "NOTHING_OWED: Final[list[Any]] = [0, b",
            ),
            Edit(
                "adapters/postgres/unit_of_work.py",
                "        prune = change.finishes and self._keep_branches is not None and prunes(claim.event.seq)\n",
                "        prune = change.finishes and self._keep_branches is not None and prunes(claim.event.seq)\n"
                "        await self._pool.write(WRITE, claim.key.thread_id, *state_arguments(change.state))\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_timer_set_after_its_user_has_spoken",
        what="A timer that is set late does not look for what was said meanwhile: the follow-up comes although the "
        "user has spoken since.",
        seen_in="reminders that were set by a worker, some time after the handler that wanted them",
        edits=(
            Edit(
                "migrations/versions/0001_schedule.sql",
                "        THEN 'cancelled' ELSE 'pending' END,\n",
                "        THEN 'pending' ELSE 'pending' END,\n",
            ),
        ),
    ),
)
