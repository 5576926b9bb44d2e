"""Seeded bugs in what LangGraph's own clients start and follow, and in graphs that work on several parts at once."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Edit, Mutant

RUNS: Final = (
    Mutant(
        name="a_change_of_the_state_is_shown",
        what="A change of the state is shown like an attempt: a screen is emptied for it, and no frame ever says that "
        "it is over.",
        seen_in="a progress bar for jobs that report no end",
        edits=(
            Edit(
                "application/subscribe.py",
                " or isinstance(attempt.event.body, StateUpdate)",
                "",
            ),
        ),
    ),
    Mutant(
        name="a_failed_change_of_the_state_is_told_to_everybody",
        what="Why a change of the state failed stands in the log: every client is told the end of something that it "
        "never saw begin.",
        seen_in="a chat that showed its operators' typing errors",
        edits=(
            Edit(
                "domain/policy.py",
                "            return SkipEvent(message, code)\n",
                "            return end\n",
            ),
        ),
    ),
    Mutant(
        name="a_run_goes_on_from_the_head_whatever_it_names",
        what="A run that names a checkpoint to go on from begins where the conversation stands.",
        seen_in="an editor whose undo kept what was undone",
        edits=(
            Edit(
                "application/session_processor.py",
                "body.checkpoint_id and not claim.resumes:",
                "body.checkpoint_id == claim.head:",
            ),
        ),
    ),
    Mutant(
        name="a_place_forgets_what_stood_beside_the_text",
        what="Who comes back with a place in the middle of an attempt is given what follows under places that do not "
        "count the steps before it.",
        seen_in="a log whose offsets skipped control records after a restart",
        edits=(
            Edit(
                "domain/live_stream.py",
                "return [part, *following], Place(part.offset, sides)",
                "return [part, *following], Place(part.offset, 0)",
            ),
        ),
    ),
    Mutant(
        name="an_answer_by_a_run_leaves_its_question_open",
        what="A run that answers a question closes none: the question is superseded by the very answer.",
        seen_in="a ticket system whose second client left tickets open",
        edits=(
            Edit(
                "domain/policy.py",
                "    if not isinstance(body, RunStart) or body.resume is None:\n",
                "    if not isinstance(body, InputResponse):\n",
            ),
        ),
    ),
    Mutant(
        name="a_run_does_not_silence_timers",
        what="A run is not taken for somebody's words: a timer that it should have cancelled fires all the same.",
        seen_in="reminders that were cancelled by messages of one client, and not by those of another",
        edits=(
            Edit(
                "domain/events.py",
                "FROM_USERS = (UserMessage, InputResponse, RunStart)",
                "FROM_USERS = (UserMessage, InputResponse)",
            ),
        ),
    ),
    Mutant(
        name="what_finished_beside_a_question_is_forgotten",
        what="A turn that ends in a question keeps the question, and not what other parts of the same superstep had "
        "written: the answer runs them again.",
        seen_in="a workflow engine that stored the signal it waited for, and not the branches that had joined",
        edits=(
            Edit(
                "adapters/langgraph/staging.py",
                "            for row in self.rows_of_writes(serde, checkpoint)\n        ]",
                "            for row in self.rows_of_writes(serde, checkpoint)\n            if row.idx < 0\n        ]",
            ),
        ),
    ),
)
