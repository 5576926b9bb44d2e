from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.replay import TRACES, difference, do, load
from unbroken.entrypoints.client.reducer import Conversation
from unbroken.entrypoints.web.frames import SERVER_FRAMES


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_the_view_after_each_step_is_what_the_trace_says(path: Path) -> None:
    trace = load(path)
    conversation = Conversation(trace["start"])
    for number, step in enumerate(trace["steps"], 1):
        do(conversation, step)
        if wrong := difference(conversation.view(), step.get("expect", {})):
            pytest.fail(f"{trace['law']} Step {number}: {wrong}")


def test_every_frame_type_is_in_some_trace() -> None:
    seen = {step["frame"]["type"] for path in TRACES for step in load(path)["steps"] if "frame" in step}
    assert seen >= {frame.__struct_config__.tag for frame in SERVER_FRAMES}
    assert len(TRACES) >= 20


def test_the_same_log_shows_the_same_turns_however_it_was_watched() -> None:
    """Durable parts do not depend on the live ones: a replay of the ends alone shows every answer."""
    for path in TRACES:
        trace = load(path)
        if trace["start"] != 0 or any(
            "history" in step or step.get("frame", {}).get("type") == "gap" for step in trace["steps"]
        ):
            continue
        watched, replayed = Conversation(), Conversation()
        for step in trace["steps"]:
            do(watched, step)
            if step.get("frame", {}).get("type") in {"user", "final", "question", "answered", "cancelled", "error"}:
                do(replayed, step)
        ends = {turn.request_id: turn for turn in watched.turns if turn.ended}
        for turn in replayed.turns:
            if turn.ended and turn.request_id in ends:
                assert (turn.outcome, turn.final) == (ends[turn.request_id].outcome, ends[turn.request_id].final)
                assert turn.outcome == "failed" or turn.text == ends[turn.request_id].text
