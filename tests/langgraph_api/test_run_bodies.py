"""What an assistant and its caller together ask of a run."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.entrypoints.langgraph_api.assistants import Served
from unbroken.entrypoints.langgraph_api.run_bodies import Asked, run_of
from unbroken.entrypoints.web.rest import Problem

BASE = {"color": "base", "n": 7}
BOTH = Served("a", "g", {"configurable": BASE}, BASE)


@pytest.mark.parametrize(
    ("assistant", "asked", "context", "configurable"),
    [
        (Served("a", "g"), {}, None, None),
        (Served("a", "g"), {"configurable": {"n": 8}}, None, {"n": 8}),
        (Served("a", "g"), {"context": {"n": 8}}, {"n": 8}, None),
        (BOTH, {}, BASE, BASE),
        (BOTH, {"context": {"color": "over"}}, {"color": "over", "n": 7}, BASE),
        (BOTH, {"configurable": {"n": 8}}, {"color": "base", "n": 8}, {"color": "base", "n": 8}),
        (Served("a", "g", {"configurable": BASE}), {"context": {"n": 8}}, {"color": "base", "n": 8}, BASE),
        (Served("a", "g", {}, BASE), {"configurable": {"n": 8}}, {"color": "base", "n": 8}, {"n": 8}),
        (
            Served("a", "g", {}, {"user_id": "of the context"}),
            {"configurable": {"user_id": "eve", "thread_id": "t", "n": 8}},
            {"user_id": "of the context", "n": 8},
            {"n": 8},
        ),
    ],
)
def test_a_run_s_context_is_put_upon_its_assistant_s(
    assistant: Served, asked: dict[str, Any], context: Any, configurable: Any
) -> None:
    config = {"configurable": asked["configurable"]} if "configurable" in asked else None
    body = run_of(Asked("a", config=config, context=asked.get("context")), assistant).body
    assert (body.context, body.config.get("configurable")) == (context, configurable)
    assert BASE == {"color": "base", "n": 7}


@pytest.mark.parametrize(
    "stored",
    [
        Served("a", "g", {"configurable": 5}),
        Served("a", "g", {"tags": 7}),
        Served("a", "g", {"recursion_limit": "x"}),
        Served("a", "g", {}, [1, 2]),
    ],
)
def test_an_assistant_that_was_stored_unseen_says_what_is_wrong_with_it(stored: Served) -> None:
    with pytest.raises(Problem, match=r"assistant a cannot run: its con.* must be .* Update the assistant") as refusal:
        run_of(Asked("a"), stored)
    assert refusal.value.status == 422


def test_an_assistant_may_hold_the_same_twice() -> None:
    assert run_of(Asked("a"), BOTH).body.context == BASE
