"""Graphs whose state is no conversation, talked to in a chat all the same."""

from __future__ import annotations

import json
import operator
import sys
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.func import entrypoint
from langgraph.graph import StateGraph

from tests.langgraph.driving import Chat, Store
from tests.langgraph.test_projects import chat_with, graphs_of, own_imports
from tests.langgraph.whole_turns import Whole
from unbroken.adapters.langgraph.conversing import GOES_ON
from unbroken.domain.errors import AgentRaised
from unbroken.domain.events import InputResponse, RunStart
from unbroken.domain.live_stream import MAX_UNITS
from unbroken.domain.policy import question_id
from unbroken.domain.utf16 import units

__all__ = ["own_imports"]


def chat_of(name: str) -> Chat:
    return chat_with(graphs_of("any_state")[name])


@pytest.mark.asyncio
async def test_a_json_object_is_the_graphs_input_and_its_output_the_answer() -> None:
    chat = chat_of("jokes")
    assert json.loads((await chat.say('{"topic": "cats", "words": 3}')).text) == {"joke": "cats in 3", "told": 1}
    assert json.loads((await chat.say('{"topic": "dogs"}')).text) == {"joke": "dogs in 3", "told": 2}


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["a joke, please", "[1]", "3", "{"])
async def test_what_is_no_json_object_is_told_with_the_keys_there_are(text: str) -> None:
    with pytest.raises(AgentRaised, match=r"takes a JSON object as its message, with these keys: topic, words$"):
        await chat_of("jokes").say(text)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "said", "answer"),
    [
        ("greet", "Ada", "Hello Ada!"),
        ("greet", "42", "Hello 42!"),
        ("double", "21", '{"result":42,"before":null}'),
        ("answering", "you", "I heard you"),
    ],
)
async def test_a_function_is_given_what_its_parameter_says(name: str, said: str, answer: str) -> None:
    assert (await chat_of(name).say(said)).text == answer


@pytest.mark.asyncio
async def test_a_conversation_whose_answer_is_no_message_ends_with_its_output() -> None:
    chat = chat_of("replying")
    assert (await chat.say("and?")).text == '{"answer":"forty-two"}'
    assert (await chat.say("look")).text == '{"answer":"looked"}', "a tool's result is nobody's answer"
    assert (await chat.say("speak")).text == "I speak", "what is said comes first"
    assert (await chat.say("and?")).text == '{"answer":"forty-two"}'
    claim = await chat.accept("ask")
    asked = await chat.run(claim)
    assert asked.text == ""
    (question,) = asked.questions
    answered = await chat.say(InputResponse(question_id(question.interrupt_id, claim.event.seq), "nine"))
    assert answered.text == '{"answer":"nine"}'


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('{"dich": "soup"}', "ValidationError: dish: Field required"),
        ('{"dish": "soup", "plates": "my secret"}', "ValidationError: plates: Input should be a valid integer, "),
    ],
)
async def test_what_a_model_of_the_state_finds_wanting_is_told_with_the_keys_there_are(said: str, told: str) -> None:
    with pytest.raises(AgentRaised) as raised:
        await chat_of("ordering").say(said)
    assert str(raised.value).startswith(told)
    keys = "; this agent takes a JSON object as its message, with these keys: dish, plates, served"
    assert str(raised.value).endswith(keys)
    assert "secret" not in str(raised.value)


@pytest.mark.asyncio
async def test_what_another_model_finds_wanting_is_not_the_messages_fault() -> None:
    with pytest.raises(AgentRaised, match=r"^ValidationError: total: Field required$"):
        await chat_of("ordering").say('{"dish": "nothing"}')


@pytest.mark.asyncio
async def test_a_function_finds_what_it_returned_before() -> None:
    chat = chat_of("double")
    await chat.say("1")
    assert json.loads((await chat.say("2")).text) == {"result": 4, "before": 2}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "said", "value", "answer"),
    [
        ("writing", '{"length": 5}', "fine", "10 words"),
        ("asking", '{"topic": "cats", "words": 1}', "yes", '{"topic":"cats","words":1,"joke":"cats: yes"}'),
    ],
)
async def test_its_question_is_asked_and_answered(name: str, said: str, value: Any, answer: str) -> None:
    chat = chat_of(name)
    claim = await chat.accept(said)
    asked = await chat.run(claim)
    assert asked.text == ""
    (question,) = asked.questions
    answered = await chat.say(InputResponse(question_id(question.interrupt_id, claim.event.seq), value))
    assert answered.text == answer
    assert answered.questions == ()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["jokes", "writing"])
async def test_a_new_input_goes_on_after_a_failure_or_a_question(name: str) -> None:
    chat = chat_of(name)
    if name == "jokes":
        claim = await chat.accept('{"topic": "broken", "words": 1}')
        assert (await chat.fail(claim)).text == ""
        assert json.loads((await chat.say('{"topic": "cats", "words": 3}')).text)["told"] == 1
    else:
        await chat.say('{"length": 1}')
        (question,) = (await chat.say('{"length": 2}')).questions
        assert question.value == {"draft": "4 words"}


@pytest.mark.asyncio
async def test_a_stopped_run_leaves_the_state_at_rest() -> None:
    chat = chat_of("jokes")
    await chat.say('{"topic": "cats", "words": 3}')
    claim = await chat.accept('{"topic": "slow", "words": 1}')
    await chat.stop(claim, sys.modules["graphs"].slow)
    assert json.loads((await chat.say('{"topic": "dogs", "words": 2}')).text) == {"joke": "dogs in 2", "told": 2}


class Pages(TypedDict, total=False):
    pages: Annotated[list[str], operator.add]


@pytest.mark.asyncio
@pytest.mark.parametrize("page", ["x" * 700_000, "\U0001f600" * 350_000], ids=["letters", "pairs"])
async def test_values_longer_than_an_answer_are_all_in_the_state_and_begin_in_the_chat(store: Store, page: str) -> None:
    async def write(state: Pages) -> Pages:
        return {"pages": [page]}

    graph: Any = StateGraph(Pages).add_node("write", write).set_entry_point("write").compile()
    whole = Whole(Chat(graph, store=store))
    for number in range(1, 4):
        text, pages = (await whole.answer(RunStart(input={"pages": []}))).text, [page] * number
        shown = json.dumps({"pages": pages}, ensure_ascii=False, separators=(",", ":"))
        assert (await whole.chat.values())["pages"] == pages
        if number == 1:
            assert text == shown
        else:
            assert text.endswith(GOES_ON)
            assert shown.startswith(text.removesuffix(GOES_ON))
            assert MAX_UNITS - 1 <= units(text) <= MAX_UNITS


@pytest.mark.asyncio
async def test_a_text_that_a_function_returns_is_made_to_fit_too(store: Store) -> None:
    @entrypoint()
    async def write(said: str) -> str:
        return said * 200_000 if said != "nul" else "a \x00 byte"

    graph: Any = write
    whole = Whole(Chat(graph, store=store))
    texts = [(await whole.answer(said)).text for said in ("12345", "123456", "nul")]
    assert texts == ["12345" * 200_000, ("123456" * 200_000)[: MAX_UNITS - units(GOES_ON)] + GOES_ON, "a \ufffd byte"]
