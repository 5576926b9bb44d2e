"""Whose config and context an event is worked off with."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.adapters.langgraph.run_start import shape_of
from unbroken.domain.events import EventBody, InputResponse, RunStart, StateUpdate, UserMessage

ASKED = RunStart(config={"tags": ["asked"], "configurable": {"model": "m1", "tier": "one"}}, context={"tenant": "acme"})
ZETA = {"tenant": "zeta"}
SET: dict[str, Any] = {"config": {"recursion_limit": 7, "configurable": {"tier": "two"}}}
BOTH = {"tags": ["asked"], "recursion_limit": 7, "configurable": {"model": "m1", "tier": "two"}}


@pytest.mark.parametrize(
    ("body", "former", "shape"),
    [
        (UserMessage("x"), None, None),
        (UserMessage("x", **SET), None, RunStart(**SET)),
        (
            UserMessage("x", context={"tenant": "zeta"}),
            None,
            RunStart(config={"configurable": {}}, context={"tenant": "zeta"}),
        ),
        (InputResponse("q", 1), ASKED, ASKED),
        (InputResponse("q", 1, **SET), ASKED, RunStart(config=BOTH, context={"tenant": "acme"})),
        (
            InputResponse("q", 1, context={"tenant": "zeta"}),
            ASKED,
            RunStart(config=ASKED.config, context={"tenant": "zeta"}),
        ),
        (StateUpdate(1), ASKED, ASKED),
        (RunStart(input=1), ASKED, RunStart(input=1)),
    ],
    ids=["message", "ruled", "context", "answer", "ruled answer", "context of an answer", "update", "run"],
)
def test_what_rules_have_set_of_a_chat_s_run_is_laid_upon_the_run_that_asked(
    body: EventBody, former: RunStart | None, shape: RunStart | None
) -> None:
    assert shape_of(body, former) == shape
