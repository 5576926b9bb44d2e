"""The checker passes every history in which all was kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.checker.__main__ import main
from tests.checker.story import Story, find, place, reset, sent, user


def test_a_kept_history_has_no_violations() -> None:
    assert [str(violation) for violation in Story().check()] == []


def test_a_history_that_is_cut_short_is_judged_by_what_it_has() -> None:
    story = Story()
    story.unfinish(4)
    story.tab[:] = [line for line in story.tab if line.get("frame", {}).get("requestId") != "timer:x:1"]
    story.tables["state_messages"]["t"] = ["e1", "m1", "e2", "m3"]
    assert [str(violation) for violation in story.check(settled=False)] == []
    assert {violation.law for violation in story.check()} == {"I1", "I13"}


def test_a_revised_final_may_differ_from_what_was_shown() -> None:
    story = Story()
    story.effects[0]["payload"].update(text="Better", revised=True)
    for trace in (story.tab, story.old):
        find(trace, "final", cursor=1).update(message="Better", revised=True)
    assert story.check() == []


def test_a_resume_inside_a_surrogate_pair_is_rounded_down() -> None:
    story = Story()
    story.tab[8]["query"].update(offset="7")
    find(story.tab, "token", offset=11).update(offset=6, value="😀 there")
    assert story.check() == []


def test_a_client_that_joined_at_the_tail_starts_anywhere_and_misses_nothing_after() -> None:
    story = Story()
    story.phone[:] = [{"kind": "open", "query": {"threadId": "t", "cursor": "tail"}}, *story.phone[9:]]
    assert story.check() == []
    del story.phone[place(story.phone, "error")]
    assert [violation.law for violation in story.check()] == ["I8"]


def test_an_old_client_that_acknowledges_is_sent_everything_from_then_on() -> None:
    story = Story()
    story.old[3:3] = [sent("ack", cursor=1), user("r2", 2, content="more"), reset("r2", 2)]
    assert story.check() == []


def test_the_command_prints_violations_and_tells_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    tables, trace = tmp_path / "tables.json", tmp_path / "tab.jsonl"
    tables.write_text(json.dumps(story.tables))
    trace.write_text("".join(json.dumps(line) + "\n" for line in story.tab))
    assert main(str(tables), str(trace)) == 0
    assert "2 connections, 0 violations" in capsys.readouterr().out
    trace.write_text("".join(json.dumps(line) + "\n" for line in story.tab if line.get("frame", {}).get("cursor") != 4))
    assert main(str(tables), str(trace)) == 1
    assert "I8  thread t: tab#2: cursor 5 follows 3" in capsys.readouterr().out
