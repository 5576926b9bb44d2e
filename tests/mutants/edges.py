"""Seeded bugs in PostgreSQL's statements, in the LangGraph adapter, and on the wire."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

EDGES: Final = (
    # PostgreSQL: functions and statements.
    Mutant(
        name="postgres_fence_by_owner_only",
        what="The commit's fence compares the owner, but neither the epoch nor the run: an attempt that the same "
        "replica has given up and repeated can still commit.",
        seen_in="a lease whose fencing token was stored and never compared",
        edits=(
            Edit(
                "migrations/versions/0003_commit.sql",
                "AND s.owner = p_owner AND s.epoch = p_epoch AND s.run = p_run\n",
                "AND s.owner = p_owner\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_claim_decided_before_the_lock",
        what="A claim looks whether the owner is alive before it locks the session, and not again under the lock: two "
        "replicas that find the same dead owner both get the session.",
        seen_in="a job queue with a SELECT and then an UPDATE by id",
        edits=(
            Edit(
                "migrations/versions/0004_claim.sql",
                """\
        INTO former, user_id, agent_id, seq, id, request_id, payload, trace_context, created_at
        FROM sessions s
        JOIN events e ON e.thread_id = s.thread_id AND e.seq = s.applied_seq + 1
        WHERE s.thread_id = p_thread AND s.deleted_at IS NULL
          AND (s.owner = p_replica
               OR (NOT EXISTS (SELECT FROM replicas r WHERE r.id = s.owner AND r.expires_at > clock_timestamp())
                   AND EXISTS (SELECT FROM replicas r WHERE r.id = p_replica AND r.expires_at > clock_timestamp())));
""",
                """\
        INTO former, user_id, agent_id, seq, id, request_id, payload, trace_context, created_at
        FROM sessions s
        JOIN events e ON e.thread_id = s.thread_id AND e.seq = s.applied_seq + 1
        WHERE s.thread_id = p_thread AND s.deleted_at IS NULL;
""",
            ),
        ),
    ),
    Mutant(
        name="postgres_tries_begin_anew_at_takeover",
        what="Each new owner counts an event's attempts from one: a poison event that kills its process is never "
        "given up, and goes from replica to replica.",
        seen_in="a job queue that kept the retry counter with the worker",
        edits=(
            Edit(
                "migrations/versions/0004_claim.sql",
                "        tries = s.tries + 1,\n",
                "        tries = CASE WHEN s.owner = p_replica THEN s.tries + 1 ELSE 1 END,\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_restarted_replica_keeps_its_id",
        what="A new boot gets the id of the former one of its name: a process that stalled and thaws after its "
        "replacement started still renews the lease and still commits.",
        seen_in="a cluster whose members were fenced by host name",
        edits=(
            Edit(
                "adapters/postgres/replicas.py",
                "    boot = r.boot + 1, id = nextval('replica_ids'), expires_at",
                "    boot = r.boot + 1, id = coalesce(r.id, nextval('replica_ids')), expires_at",
            ),
        ),
    ),
    Mutant(
        name="postgres_seq_from_the_highest",
        what="An accept numbers its event max(seq) + 1, read without a lock: racing accepts of one thread take the "
        "same number, and all but one fail.",
        seen_in="a chat backend that numbered messages by SELECT max(position) + 1",
        edits=(
            Edit(
                "migrations/versions/0003_accept.sql",
                "        SELECT i.next_seq INTO seq FROM inbox i WHERE i.thread_id = p_thread FOR NO KEY UPDATE;\n",
                """\
        SELECT (SELECT coalesce(max(e.seq), 0) + 1 FROM events e WHERE e.thread_id = p_thread) INTO seq
            FROM inbox i WHERE i.thread_id = p_thread;
""",
            ),
        ),
    ),
    Mutant(
        name="postgres_timer_survives_a_queued_message",
        what="A user's message cancels the pending timers only where it starts a turn, not where it waits behind "
        "one: the follow-up comes although the user has spoken.",
        seen_in="a reminder service that cancelled its reminders in the handler of the message",
        edits=(
            Edit(
                "migrations/versions/0003_accept.sql",
                "    IF p_from_user THEN\n",
                "    IF p_from_user AND claimed THEN\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_cancel_loses_to_a_commit",
        what="A finishing commit does not look at the cancel that was marked before it: the client read `cancelling`, "
        "and the whole answer comes and stays.",
        seen_in="a run queue whose cancel was only a hint to the worker",
        edits=(
            Edit(
                "migrations/versions/0003_commit.sql",
                "            IF marked IS NOT NULL AND NOT p_cancels THEN\n",
                "            IF marked = 'rollback' AND NOT p_cancels THEN\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_base_follows_each_superstep",
        what="What a failure goes back to is the head before the last superstep, not the one before the event: half "
        "of a failed turn stays in the agent's state.",
        seen_in="a checkpoint saver that rolled back to the previous checkpoint",
        edits=(
            Edit(
                "migrations/versions/0001_put_state.sql",
                "base_id = CASE WHEN p_rests THEN excluded.checkpoint_id ELSE heads.base_id END;",
                "base_id = CASE WHEN p_rests THEN excluded.checkpoint_id ELSE heads.checkpoint_id END;",
            ),
        ),
    ),
    Mutant(
        name="postgres_effect_stuck_in_executing",
        what="An effect whose executor died is never claimed again, and holds up its session's later ones.",
        seen_in="an outbox whose relay took only rows that were pending",
        edits=(
            Edit(
                "adapters/postgres/outbox.py",
                "    WHERE {UNFINISHED} AND {DUE_AT} <= now()\n",
                "    WHERE f.status = 'pending' AND {DUE_AT} <= now()\n",
            ),
        ),
    ),
    Mutant(
        name="postgres_last_ack_wins",
        what="The acknowledged cursor is the one that came last, not the highest: a second client that lags behind "
        "takes back what the first one has acknowledged.",
        seen_in="read markers of a chat with two devices",
        edits=(
            Edit(
                "adapters/postgres/outbox.py",
                """\
        sent = greatest(d.sent, excluded.sent), acked = greatest(d.acked, excluded.acked)
    WHERE d.sent < excluded.sent OR d.acked < excluded.acked
""",
                """\
        sent = greatest(d.sent, excluded.sent), acked = coalesce(nullif(excluded.acked, 0), d.acked)
    WHERE d.sent < excluded.sent OR (excluded.acked > 0 AND d.acked <> excluded.acked)
""",
            ),
        ),
    ),
    Mutant(
        name="postgres_lost_answer_taken_for_a_refusal",
        what="A write whose answer was lost is reported as one that did not happen.",
        seen_in="a client that treated each broken connection as a rollback",
        edits=(
            Edit(
                "adapters/postgres/errors.py",
                """        return CommitUnknown(f"the database's answer was lost: {reason}")\n""",
                """        return StoreUnavailable(f"the database's answer was lost: {reason}")\n""",
            ),
        ),
    ),
    # LangGraph.
    Mutant(
        name="langgraph_latest_is_the_highest_id",
        what='The saver answers "latest" with the highest checkpoint id, not with the head: after a turn that was '
        "taken back, or a foreign writer, the graph goes on from a state that does not count.",
        seen_in="a checkpoint saver with ORDER BY checkpoint_id DESC LIMIT 1",
        edits=(
            Edit(
                "adapters/langgraph/saver.py",
                "        stored = await self.checkpoints.load(self.thread_id, checkpoint_ns, wanted)\n",
                """\
        latest = wanted
        if checkpoint_id is None:
            newest = await self.checkpoints.history(self.thread_id, checkpoint_ns, limit=1)
            latest = newest[0].row.checkpoint_id if newest else wanted
        stored = await self.checkpoints.load(self.thread_id, checkpoint_ns, latest)
""",
            ),
        ),
    ),
    Mutant(
        name="langgraph_stale_pending_writes",
        what="A stored pending write beside a checkpoint hides the one that replaces it: a node that asks twice asks "
        "its first question again.",
        seen_in="a checkpoint saver that kept the first of each special write",
        edits=(
            Edit(
                "adapters/langgraph/saver.py",
                "            if write.replaces or (write.task_id, write.idx) not in rows:\n",
                "            if (write.task_id, write.idx) not in rows:\n",
            ),
        ),
    ),
    Mutant(
        name="langgraph_crashed_turn_gets_its_message_again",
        what="An attempt that begins inside a crashed event gives the message as new input instead of going on: the "
        "supersteps that were committed run once more, and their tools with them.",
        seen_in="a retry that invoked the graph with the same input on the same thread",
        edits=(
            Edit(
                "adapters/langgraph/agent.py",
                "        if claim.resumes:\n",
                "        if claim.resumes and isinstance(claim.event.body, InputResponse):\n",
            ),
        ),
    ),
    Mutant(
        name="langgraph_message_approves_a_breakpoint",
        what="A message that comes while a question is open goes on from where the graph is parked: what waited for "
        "an approval is run without one.",
        seen_in="a chat that continued an interrupted graph with whatever the user said next",
        edits=(
            Edit(
                "adapters/langgraph/agent.py",
                "from unbroken.adapters.langgraph.attachments import Attachments\n",
                "from langgraph.types import Command\n\n"
                "from unbroken.adapters.langgraph.attachments import Attachments\n",
            ),
            Edit(
                "adapters/langgraph/agent.py",
                "            if dangling or (claim.open_questions and not run.forks):\n",
                "            if dangling:\n",
            ),
            Edit(
                "adapters/langgraph/agent.py",
                "            await run.drive(given, commits=self._commits)\n",
                "            parked = bool(claim.open_questions) and not dangling\n"
                "            await run.drive(Command(update=given) if parked else given, commits=self._commits)\n",
            ),
        ),
    ),
    Mutant(
        name="langgraph_fork_lost_at_the_second_try",
        what="A message that replaces an earlier one is answered on the branch it was to leave, if its first attempt "
        "died before it had committed anything.",
        seen_in="a regenerate button whose parent checkpoint lived in the request and not in the job",
        edits=(
            Edit(
                "adapters/langgraph/turn_run.py",
                "        self.forks = attempt.fork is not None and not claim.resumes\n",
                "        self.forks = attempt.fork is not None and not claim.resumes and claim.tries == 1\n",
            ),
        ),
    ),
    Mutant(
        name="langgraph_cached_head_of_another_epoch",
        what="A remembered head is used although the session belonged to somebody else meanwhile: what the other "
        "owner wrote beside the same checkpoint is not seen.",
        seen_in="a cache of checkpoints by their id, without the writes' version",
        edits=(
            Edit(
                "adapters/langgraph/recent_heads.py",
                "        if epoch != claim.epoch or head.row.checkpoint_id != claim.head:\n",
                "        if head.row.checkpoint_id != claim.head:\n",
            ),
        ),
    ),
    # The wire.
    Mutant(
        name="web_doubt_is_accepted",
        what="An accept whose commit is in doubt is answered with `accepted`: the client forgets a message that may "
        "not be stored.",
        seen_in="a gateway that acknowledged before the broker had confirmed",
        edits=(
            Edit(
                "entrypoints/web/connection.py",
                """\
            except CommitUnknown:
                self._in_doubt[request_id] = body
                raise
""",
                """\
            except CommitUnknown:
                self._answer(AcceptedFrame(request_id=request_id, seq=0, duplicate=False))
                return
""",
            ),
        ),
    ),
    Mutant(
        name="web_user_before_its_receipt",
        what="The `user` frame of a request does not wait for the request's receipt: on the socket that sent it, it "
        "may come before `accepted`.",
        seen_in="a chat whose echo raced its own acknowledgement",
        edits=(
            Edit(
                "entrypoints/web/connection.py",
                """\
        if isinstance(delivery, ShowUser):
            await self._receipt_first(delivery.event)
        elif isinstance(delivery, ShowLogged):
            await self._receipt_first(delivery.entry.event)
""",
                """\
        if isinstance(delivery, ShowLogged):
            await self._receipt_first(delivery.entry.event)
""",
            ),
        ),
    ),
    Mutant(
        name="web_send_taken_for_delivery",
        what="A frame counts as acknowledged as soon as it was written to the socket: what was lost with the "
        "connection is not sent to a client that comes back without a cursor.",
        seen_in="a push service that marked messages as read when send() returned",
        edits=(
            Edit(
                "entrypoints/web/connection.py",
                "            self._acknowledge.sent(self._key, delivery.entry.log_index)\n",
                "            self._acknowledge.sent(self._key, delivery.entry.log_index)\n"
                "            self._acknowledge.acked(self._key, delivery.entry.log_index)\n",
            ),
        ),
    ),
    Mutant(
        name="web_cursor_zero_is_no_cursor",
        what="A client that says it has nothing (cursor 0) is given only what nobody has acknowledged: a second tab "
        "misses the beginning.",
        seen_in="a stream resume with `last_id or default`",
        edits=(
            Edit(
                "entrypoints/web/chat_sockets.py",
                """        cursor = TAIL_CURSOR if hello.cursor == "tail" else hello.cursor\n""",
                """        cursor = TAIL_CURSOR if hello.cursor == "tail" else hello.cursor or None\n""",
            ),
        ),
    ),
    Mutant(
        name="web_socket_outlives_its_token",
        what="A token's expiry is looked at when the socket opens and never again.",
        seen_in="websocket backends that authenticate the handshake only",
        edits=(
            Edit(
                "entrypoints/web/open_connections.py",
                "            left_s = min(max(0.0, until - time.time()), LONGEST_S)\n",
                "            left_s = LONGEST_S\n",
            ),
        ),
    ),
    Mutant(
        name="web_legacy_client_sees_two_attempts",
        what="An old client, which cannot take text back, gets the tokens of a second attempt behind those of the "
        "first.",
        seen_in="a stream that was restarted after a worker's crash, with half an answer before the whole one",
        edits=(
            Edit(
                "entrypoints/web/legacy.py",
                "            return self._attempts.setdefault(frame.request_id, frame.attempt) == frame.attempt\n",
                "            return self._attempts.setdefault(frame.request_id, frame.attempt) <= frame.attempt\n",
            ),
        ),
    ),
    Mutant(
        name="web_abuse_is_never_forgotten",
        what="A socket's refused frames are counted for as long as it lives: an honest client that stays connected "
        "for days is closed at its twentieth typing error.",
        seen_in="a rate limiter whose window never moved",
        edits=(
            Edit(
                "entrypoints/web/abuse.py",
                "        return len(seen) == most and now_s - seen[0] < self._window_s\n",
                "        return len(seen) == most\n",
            ),
        ),
    ),
)
