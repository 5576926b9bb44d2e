"""Seeded bugs in the memory store, which the simulation runs on."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

MEMORY: Final = (
    Mutant(
        name="next_message_deletes_undelivered",
        what="A user's next message removes the log up to here, whether anybody has read it or not.",
        seen_in="a bot gateway that cleared the pending-response slot when a new request came in",
        edits=(
            Edit(
                "adapters/memory/event_store.py",
                "                timers=_timers_after(session, new),\n",
                "                timers=_timers_after(session, new),\n"
                "                log_floor=session.log_index if new.from_user else session.log_floor,\n",
            ),
        ),
    ),
    Mutant(
        name="seq_read_before_the_transaction",
        what="The next seq is read before the transaction that uses it (max(seq) + 1 without a lock): two accepts at"
        " the same time get the same number.",
        seen_in="message tables numbered by SELECT max(seq) + 1 in a statement of its own",
        edits=(
            Edit(
                "adapters/memory/event_store.py",
                "        def step(transaction: Transaction) -> Receipt:\n",
                "        seen = self._database.sessions.get(key.thread_id)\n"
                "        seq = (seen.last_seq if seen else 0) + 1\n\n"
                "        def step(transaction: Transaction) -> Receipt:\n",
            ),
            Edit("adapters/memory/event_store.py", "            seq = session.last_seq + 1\n", ""),
        ),
    ),
    Mutant(
        name="retry_goes_to_the_tail",
        what="An event that is tried again is put behind those that wait, under a new seq: a later message is answered"
        " first.",
        seen_in="job queues that requeue a failed job at the end of its queue",
        edits=(
            Edit(
                "adapters/memory/claims.py",
                "from unbroken.adapters.memory.tables import AgentState, Session\n",
                "from unbroken.adapters.memory.encoding import encode_json\n"
                "from unbroken.adapters.memory.tables import AgentState, Session\n",
            ),
            Edit(
                "adapters/memory/claims.py",
                "    same = session.owner == replica\n",
                "    same = session.owner == replica\n"
                "    if session.tries and session.waiting > 1 and not session.controls and "
                "session.head_event <= session.applied_seq:\n"
                "        session = _requeued(session)\n",
            ),
            Edit(
                "adapters/memory/claims.py",
                "def count_attempt(",
                "def _requeued(session: Session) -> Session:\n"
                '    """The first unfinished event behind the others."""\n'
                "    done = session.applied_seq\n"
                "    first, *others = (session.event(seq) for seq in range(done + 1, session.last_seq + 1))\n"
                "    moved = [replace(event, seq=seq) for seq, event in enumerate([*others, first], done + 1)]\n"
                "    requests = {event.request_id: replace(session.requests[event.request_id], "
                "seq=event.seq) for event in moved}\n"
                "    return replace(\n"
                "        session,\n"
                "        epoch=session.epoch + 1,\n"
                "        tries=0,\n"
                '        events=(*session.events[:done], *(encode_json("event", event) for event in moved)),\n'
                "        requests={**session.requests, **requests},\n"
                "    )\n"
                "\n\n"
                "def count_attempt(",
            ),
        ),
    ),
    Mutant(
        name="effects_stuck_in_executing",
        what="An effect whose executor died stays claimed (for thirty years): it and all behind it are never executed.",
        seen_in="outbox workers that set status = executing and have nothing that looks for orphans",
        edits=(
            Edit(
                "adapters/memory/outbox.py",
                "            due=now + until_s,\n",
                "            due=now + 1e9,\n",
            ),
        ),
    ),
    Mutant(
        name="claim_of_a_live_owners_session",
        what="A claim takes the session whoever owns it, alive or not: two replicas take one turn from each other.",
        seen_in="workers that set owner = me without a condition on the former owner's lease",
        edits=(
            Edit(
                "adapters/memory/sessions.py",
                "            if not _may_take(transaction, session, replica, self._clock.monotonic()):\n"
                "                return None\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="checkpoint_and_outbox_in_two_transactions",
        what="The agent's state is saved in a fenced transaction of its own before the one with the effects: when a"
        " crash comes between, or a cancel refuses the finish, the state holds an answer that nobody was given.",
        seen_in="handlers that let the checkpointer save and then insert into the outbox",
        edits=(
            Edit(
                "adapters/memory/unit_of_work.py",
                '        return await self._database.run("commit", step)\n',
                "        def save(transaction: Transaction) -> None:\n"
                "            thread_id = _fenced(transaction, change.claim).key.thread_id\n"
                "            state = transaction.agent_states.get(thread_id) or AgentState()\n"
                "            transaction.agent_states.put(thread_id, extended(state, change.state))\n"
                "\n"
                "        if change.finishes:\n"
                '            await self._database.run("put", save)\n'
                '        return await self._database.run("commit", step)\n',
            ),
        ),
    ),
    Mutant(
        name="head_by_highest_id",
        what="The checkpoint that counts is the one with the highest id, not the one that the head points to: what"
        " failed, was rolled back or left for another branch is back in the agent's state.",
        seen_in="checkpointers whose 'latest' is ORDER BY checkpoint_id DESC LIMIT 1",
        edits=(
            Edit(
                "adapters/memory/checkpoints.py",
                "                head = state.heads.get(checkpoint_ns)\n"
                "                wanted = head.checkpoint_id if head else state.highest(checkpoint_ns)\n",
                "                wanted = state.highest(checkpoint_ns)\n",
            ),
            Edit(
                "adapters/memory/claims.py",
                "        head=head.checkpoint_id if head else none,\n",
                "        head=state.highest(ROOT) if head else none,\n",
            ),
        ),
    ),
    Mutant(
        name="fence_missing",
        what="A commit is not compared with the session's owner, epoch and attempt: a stalled owner that wakes up"
        " finishes an event that another has taken over or ended.",
        seen_in="lease-based workers that check the lease before the work and never in the write",
        edits=(
            Edit(
                "adapters/memory/unit_of_work.py",
                "    if held != (session.key, session.owner, session.epoch, session.run, session.applied_seq):\n",
                "    if held[0] != session.key:\n",
            ),
        ),
    ),
    Mutant(
        name="fence_after_the_write",
        what="The agent's state is written before the fence is asked: a fenced commit is refused, but its checkpoints"
        " and heads stand.",
        seen_in="a saver that autocommitted its rows before the UPDATE … WHERE epoch = mine",
        edits=(
            Edit(
                "adapters/memory/unit_of_work.py",
                '        return await self._database.run("commit", step)\n',
                "        def write(transaction: Transaction) -> None:\n"
                "            thread_id = change.claim.key.thread_id\n"
                "            state = transaction.agent_states.get(thread_id) or AgentState()\n"
                "            transaction.agent_states.put(thread_id, extended(state, change.state))\n"
                "\n"
                '        await self._database.run("put", write)\n'
                '        return await self._database.run("commit", step)\n',
            ),
        ),
    ),
    Mutant(
        name="cancel_loses_the_race",
        what="A finishing commit does not look for a cancel that was stored before it: the user is told that the turn"
        " is being cancelled, and gets its answer.",
        seen_in="stop buttons that set a flag which the last write never reads",
        edits=(
            Edit(
                "adapters/memory/unit_of_work.py",
                "            if change.finishes and not change.cancels and seq in session.controls:\n"
                "                raise CancelRequested(session.controls[seq])\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="timers_cancelled_at_the_turns_end",
        what="A user's message cancels pending timers when it is finished, not when it is accepted: a timer comes due"
        " while the message waits or runs, and fires after it.",
        seen_in="'are you still there?' nudges sent to users who had just answered",
        edits=(
            Edit(
                "adapters/memory/event_store.py",
                "    if new.from_user:\n"
                "        return {\n"
                '            timer_id: replace(timer, status="cancelled") if timer.pending else timer\n'
                "            for timer_id, timer in session.timers.items()\n"
                "        }\n",
                "",
            ),
            Edit(
                "adapters/memory/unit_of_work.py",
                "                tries=0,\n",
                "                tries=0,\n"
                "                timers={\n"
                '                    id_: replace(timer, status="cancelled") if timer.pending and '
                "claim.event.from_user else timer\n"
                "                    for id_, timer in session.timers.items()\n"
                "                },\n",
            ),
        ),
    ),
    Mutant(
        name="epoch_kept_when_repeating_ones_own_attempt",
        what="An owner that counts its own attempt anew keeps its epoch, and the fence compares no attempt: the former"
        " one, thought dead, can still commit.",
        seen_in="fencing tokens that grow only when the owner changes",
        edits=(
            Edit(
                "adapters/memory/claims.py",
                "        epoch=session.epoch if same and not session.tries else session.epoch + 1,\n",
                "        epoch=session.epoch if same else session.epoch + 1,\n",
            ),
            Edit(
                "adapters/memory/unit_of_work.py",
                "    held = (claim.key, claim.owner, claim.epoch, claim.run, claim.applied_seq)\n",
                "    held = (claim.key, claim.owner, claim.epoch, session.run, claim.applied_seq)\n",
            ),
        ),
    ),
    Mutant(
        name="a_crash_is_not_a_try",
        what="Tries are counted only by an owner that lives to repeat its attempt (the nearest here to counting after"
        " the run): an event that kills its process is taken over for ever.",
        seen_in="queues that add to the retry count in the exception handler",
        edits=(
            Edit(
                "adapters/memory/claims.py",
                "        tries=session.tries + 1,\n",
                "        tries=session.tries + 1 if same else max(1, session.tries),\n",
            ),
        ),
    ),
    Mutant(
        name="heads_stay_after_a_failure",
        what="A failed or rolled-back event leaves the heads where its supersteps had moved them: half a turn stays in"
        " the agent's state.",
        seen_in="agents whose thread is refused by the provider after one broken tool call",
        edits=(Edit("adapters/memory/unit_of_work.py", "        state = reverted(state)\n", ""),),
    ),
    Mutant(
        name="duplicate_of_an_ended_event_runs_again",
        what="A request id is remembered only while its event is unfinished: a client that repeats a message after its"
        " answer was committed, but not received, is answered twice.",
        seen_in="idempotency keys that were deleted when the job was done",
        edits=(
            Edit(
                "adapters/memory/event_store.py",
                "        if request is None:\n",
                "        if request is None or request.seq <= session.applied_seq:\n",
            ),
        ),
    ),
    Mutant(
        name="second_edit_keeps_the_old_branch",
        what="A message that replaces an edited one goes on from before the edit's own event, where the first version"
        " and its answer still stand, not from before the first version.",
        seen_in="chat trees that fork at the edited row's parent in time instead of its parent in the tree",
        edits=(
            Edit(
                "adapters/memory/sessions.py",
                "    while request is not None:\n"
                "        body = session.event(request.seq).body\n"
                '        earlier = session.requests.get(body.replaces or "") if isinstance(body, '
                "UserMessage) else None\n"
                "        if earlier is None or earlier.seq >= request.seq:\n"
                "            return request.seq\n"
                "        request = earlier\n"
                "    return None\n",
                "    return None if request is None else request.seq\n",
            ),
        ),
    ),
)
