"""What can be typed in answer to what an agent asks."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.entrypoints.client.question_form import form_of

TOOL = {"name": "send_mail", "args": {"to": "ann"}, "description": "Sends it."}
PICK = {"question": "Which?", "options": ["red", {"label": "Blue", "value": 7}]}


@pytest.mark.parametrize(
    ("value", "line", "answer"),
    [
        ("How many?", " three ", "three"),
        ({"question": "Name?", "default": "Ann"}, "", "Ann"),
        ({"prompt": "Sure?", "type": "boolean"}, "y", True),
        ({"message": "Sure?", "default": False}, "No", False),
        (PICK, "1", "red"),
        (PICK, "blue", 7),
        ({**PICK, "multiple": True}, "1, Blue", ["red", 7]),
        ({"action_requests": [TOOL]}, "yes", {"decisions": [{"type": "approve"}]}),
        ({"action_requests": [TOOL]}, "no: not now", {"decisions": [{"type": "reject", "message": "not now"}]}),
        ({"action_requests": [TOOL, TOOL]}, "y, n", {"decisions": [{"type": "approve"}, {"type": "reject"}]}),
        ({"action_requests": [TOOL, TOOL]}, "yes", {"decisions": [{"type": "approve"}, {"type": "approve"}]}),
        ([1, 2], '{"a": 1}', {"a": 1}),
        ({"unknown": 1}, "in words", "in words"),
        (None, "null", None),
    ],
)
def test_a_line_becomes_the_value_that_the_question_asks_for(value: Any, line: str, answer: Any) -> None:
    assert form_of(value).answer(line) == answer


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (PICK, "3"),
        (PICK, "green"),
        (PICK, ""),
        ({"prompt": "Sure?", "type": "boolean"}, "perhaps"),
        ({"action_requests": [TOOL, TOOL]}, "yes, no, yes"),
        ({"action_requests": [TOOL]}, "yes, but not today"),
        ({"action_requests": [TOOL]}, ""),
    ],
)
def test_a_line_that_answers_nothing_is_refused_with_what_would_do(value: Any, line: str) -> None:
    form = form_of(value)
    with pytest.raises(ValueError, match=form.hint[:20]):
        form.answer(line)


def test_what_is_to_be_decided_on_is_shown() -> None:
    form = form_of({"action_requests": [TOOL]})
    assert form.prompt == "May I use “send_mail”?"
    assert form.lines() == ['send_mail {"to": "ann"}', "  Sends it."]
    assert form_of(PICK).lines() == ["1. red", "2. Blue"]
