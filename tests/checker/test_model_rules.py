"""Each rule of `model_rules` tells a history that breaks it from one that does not."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from tests.checker import model_rules


def asks(*ids: str, text: str = "") -> AIMessage:
    return AIMessage(text, tool_calls=[{"name": "look", "args": {}, "id": call_id} for call_id in ids])


def result(call_id: str) -> ToolMessage:
    return ToolMessage("seen", tool_call_id=call_id)


USER, SAID = HumanMessage("hello"), AIMessage("hi")

ACCEPTED: dict[str, list[BaseMessage]] = {
    "a chat": [SystemMessage("be brief"), USER, SAID, USER],
    "a tool loop": [USER, asks("1"), result("1"), asks("2", text="more"), result("2"), SAID, USER],
    "parallel calls in another order": [USER, asks("1", "2"), result("2"), result("1"), USER],
    "two messages in a row": [USER, USER, SAID, AIMessage("and"), USER],
    "a blank end that is not the last": [USER, AIMessage("hi \n"), USER],
}

BROKEN: dict[str, tuple[list[BaseMessage], str]] = {
    "nothing": ([], "no message"),
    "an assistant first": ([SAID, USER], "first message is of type ai"),
    "a result first": ([result("1"), USER], "first message is of type tool"),
    "an empty answer": ([USER, AIMessage(""), USER], "says nothing"),
    "a blank answer": ([USER, AIMessage("\n\n"), USER], "says nothing"),
    "an empty question": ([HumanMessage("")], "holds nothing"),
    "no result": ([USER, asks("1"), USER], "'1' has no result before message 2"),
    "no result at the end": ([USER, asks("1")], "'1' has no result at the end"),
    "one result of two": ([USER, asks("1", "2"), result("1"), SAID], "'2' has no result before message 3"),
    "a late result": ([USER, asks("1"), USER, result("1")], "second time, or too late"),
    "two results": ([USER, asks("1"), result("1"), result("1"), SAID], "second time"),
    "an orphan": ([USER, SAID, result("9"), USER], "which nobody made"),
    "an id used twice": ([USER, asks("1"), result("1"), asks("1"), result("1")], "not its own"),
}

BROKEN_FOR_ANTHROPIC: dict[str, tuple[list[BaseMessage], str]] = {
    "a system message in the middle": ([USER, SAID, SystemMessage("now"), USER], "middle of the conversation"),
    "words before results": ([USER, asks("1"), USER, result("1"), SAID], "behind the user's own words"),
    "trailing whitespace": ([USER, AIMessage("hi ")], "trailing whitespace"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_history_that_providers_take_has_no_violation(case: str) -> None:
    assert model_rules.violations(ACCEPTED[case]) == []


@pytest.mark.parametrize("case", BROKEN)
def test_a_history_that_every_provider_refuses_is_told(case: str) -> None:
    messages, said = BROKEN[case]
    for rules in (model_rules.openai, model_rules.anthropic):
        assert any(said in violation for violation in rules(messages)), rules(messages)
    assert len(model_rules.violations(messages)) >= 2


@pytest.mark.parametrize("case", BROKEN_FOR_ANTHROPIC)
def test_a_history_that_anthropic_refuses_is_told(case: str) -> None:
    messages, said = BROKEN_FOR_ANTHROPIC[case]
    assert any(said in violation for violation in model_rules.anthropic(messages)), model_rules.anthropic(messages)
    assert not any(said in violation for violation in model_rules.openai(messages))
