"""A run's stream as events: what each delivery becomes, and that a reader that comes back is given exactly the rest."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from unbroken.application.deliveries import Delivery, ShowReset, ShowStep, ShowText
from unbroken.domain.effects import CancelTurn, ReportFailure, RequestInput, SendMessage
from unbroken.domain.events import Event, RunStart, UserMessage
from unbroken.domain.live_stream import LiveStream
from unbroken.domain.stream_parts import Part, StepPart, TextPart, merged
from unbroken.domain.utf16 import units
from unbroken.entrypoints.langgraph_api import message_chunks
from unbroken.entrypoints.langgraph_api.run_events import NOTHING, RunEvent, RunEvents, Seen

AT = datetime(2026, 1, 1, tzinfo=UTC)
RICH = Event(1, "run-1", "r-1", RunStart(rich=True), AT)
CHAT = Event(1, "run-1", "r-1", UserMessage("hello"), AT)
ATTEMPT = 7


def deliveries(parts: Sequence[Part], *, merging: random.Random | None = None) -> list[Delivery]:
    """As `Subscription` hands them out, merged as it may merge them."""
    found: list[Delivery] = [ShowReset("r-1", ATTEMPT, "started")]
    position = sides = 0
    while position < len(parts):
        part = parts[position]
        if merging is None:
            position += 1
        else:
            part, position = merged(list(parts[: position + merging.randint(1, 4)]), position)
        if isinstance(part, TextPart):
            found.append(ShowText("r-1", ATTEMPT, part, sides))
        else:
            assert isinstance(part, StepPart)
            found.append(ShowStep("r-1", ATTEMPT, part, sides))
            sides += 1
    return found


def step(method: str, data: Any, *namespace: str) -> StepPart:
    return StepPart(0, method, namespace, json.dumps(data).encode())


def told(events: Sequence[RunEvent]) -> list[tuple[str, Any]]:
    return [(event.event, json.loads(event.data)) for event in events]


def read(event: Event, seen: Sequence[Delivery], *modes: str, after: Seen = NOTHING, **options: Any) -> list[RunEvent]:
    view = RunEvents(event, modes, after=after, **options)
    return [made for delivery in seen for made in view.take(delivery)]


def streamed(message_id: str, *texts: str) -> list[StepPart]:
    start = {"event": "message-start", "role": "ai", "id": message_id, "metadata": {"provider": "openai"}}
    block = {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
    deltas = [
        {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": text}} for text in texts
    ]
    finish = {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "".join(texts)}}
    end = {"event": "message-finish", "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}
    return [step("messages", data) for data in (start, block, *deltas, finish, end)]


def test_steps_become_the_modes_that_were_asked_for() -> None:
    parts = [
        step("values", {"a": 1}),
        step("custom", "half done"),
        step("updates", {"node": {"a": 2}}),
        step("tasks", {"id": "t"}),
        step("values", {"inner": True}, "sub:1", "deep:2"),
    ]
    metadata = ("metadata", {"run_id": "run-1", "attempt": ATTEMPT})
    assert told(read(RICH, deliveries(parts), "values", "custom")) == [
        metadata,
        ("values", {"a": 1}),
        ("custom", "half done"),
    ]
    assert told(read(RICH, deliveries(parts), "values", "updates", subgraphs=True)) == [
        metadata,
        ("values", {"a": 1}),
        ("updates", {"node": {"a": 2}}),
        ("values|sub:1|deep:2", {"inner": True}),
    ]


def test_debug_is_made_of_checkpoints_and_tasks() -> None:
    parts = [
        step("checkpoints", {"metadata": {"step": 0}}),
        step("tasks", {"id": "t", "input": 1}),
        step("tasks", {"id": "t", "result": 2}),
        step("checkpoints", {"metadata": {"step": 1}}),
    ]
    made = told(read(RICH, deliveries(parts), "debug"))[1:]
    assert [(name, one["type"], one["step"]) for name, one in made] == [
        ("debug", "checkpoint", 0),
        ("debug", "task", 1),
        ("debug", "task_result", 1),
        ("debug", "checkpoint", 1),
    ]
    assert made[1][1]["payload"] == {"id": "t", "input": 1}


def test_messages_are_told_as_chunks_or_whole_so_far() -> None:
    seen = deliveries(streamed("m1", "Hel", "lo"))
    chunks = [data[0] for name, data in told(read(RICH, seen, "messages-tuple")) if name == "messages"]
    assert [chunk["content"] for chunk in chunks] == ["", "Hel", "lo", ""]
    assert {chunk["id"] for chunk in chunks} == {"m1"}
    assert chunks[-1]["chunk_position"] == "last"
    assert chunks[-1]["usage_metadata"] == {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    whole = told(read(RICH, seen, "messages", about={"graph_id": "g"}))[1:]
    assert whole[0][0] == "messages/metadata"
    assert whole[0][1]["m1"]["metadata"] == {"graph_id": "g", "run_attempt": ATTEMPT, "ls_provider": "openai"}
    assert [(name, data[0]["content"]) for name, data in whole[1:]] == [
        ("messages/partial", ""),
        ("messages/partial", "Hel"),
        ("messages/partial", "Hello"),
        ("messages/partial", "Hello"),
    ]


def test_a_tool_call_is_put_together_from_its_pieces() -> None:
    call = {"type": "tool_call_chunk", "id": "c1", "name": "weather", "args": ""}
    done = {"type": "tool_call", "id": "c1", "name": "weather", "args": {"city": "Paris"}}
    parts = [
        step("messages", {"event": "message-start", "role": "ai", "id": "m1"}),
        step("messages", {"event": "content-block-start", "index": 0, "content": call}),
        *(
            step("messages", {"event": "content-block-delta", "index": 0, "delta": {"type": "tool-call-delta", **args}})
            for args in ({"args": '{"city": '}, {"args": '"Paris"}'})
        ),
        step("messages", {"event": "content-block-finish", "index": 0, "content": done}),
    ]
    tuples = [data[0] for name, data in told(read(RICH, deliveries(parts), "messages-tuple")) if name == "messages"]
    pieces = [chunk["tool_call_chunks"][0] for chunk in tuples if chunk["tool_call_chunks"]]
    assert [(piece["id"], piece["name"], piece["args"]) for piece in pieces] == [
        ("c1", "weather", ""),
        (None, None, '{"city": '),
        (None, None, '"Paris"}'),
    ]
    last = told(read(RICH, deliveries(parts), "messages"))[-1][1][0]
    assert last["tool_calls"] == [{"name": "weather", "args": {"city": "Paris"}, "id": "c1", "type": "tool_call"}]


def test_messages_of_one_namespace_are_told_apart_from_those_of_another() -> None:
    root, inner = streamed("m1", "a", "b"), streamed("m2", "x", "y")
    parts: list[StepPart] = []
    for one, other in zip(root, inner, strict=True):
        parts += [one, StepPart(0, one.method, ("sub:1",), other.data)]
    made = told(read(RICH, deliveries(parts), "messages-tuple", subgraphs=True))[1:]
    texts = {name: "".join(data[0]["content"] for n, data in made if n == name) for name, _ in made}
    assert texts == {"messages": "ab", "messages|sub:1": "xy"}


def test_a_message_that_no_model_said_comes_whole() -> None:
    result = {"content": "sunny", "type": "tool", "id": "t1", "tool_call_id": "c1"}
    parts = [step("message", {"message": result, "metadata": {"langgraph_node": "tools"}})]
    made = told(read(RICH, deliveries(parts), "messages-tuple", about={"graph_id": "g"}))[1:]
    about = {"graph_id": "g", "run_attempt": ATTEMPT, "langgraph_node": "tools"}
    assert made == [("messages", [result, about])]
    assert told(read(RICH, deliveries(parts), "messages"))[-1] == ("messages/complete", [result])


def random_stream(rng: random.Random, event: Event) -> list[Part]:
    stream = LiveStream()
    for number in range(rng.randint(1, 4)):
        for _ in range(rng.randint(1, 6)):
            stream.append(f"m{number}", "".join(rng.choices("ab🧭 ", k=rng.randint(1, 5))))
            if event is RICH:
                stream.step("values", (), json.dumps({"n": rng.random()}).encode())
            elif rng.random() < 0.4:
                stream.step("custom", (), b"1")
        stream.close(f"m{number}")
        if event is RICH:
            for part in streamed(f"m{number}", "one ", "two"):
                stream.step(part.method, (), part.data or b"")
    return stream.beyond(0)[0]


def joined(events: Sequence[RunEvent], modes: Sequence[str]) -> Any:
    """What a client makes of it: a message's text in the pieces' order, or its last form."""
    if "messages-tuple" not in modes:
        return told(events)
    texts: dict[str, str] = {}
    for name, data in told(events):
        if name == "messages":
            texts[data[0]["id"]] = texts.get(data[0]["id"], "") + data[0]["content"]
    return texts


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("modes", [("values", "messages-tuple"), ("messages", "custom"), ("updates", "values")])
def test_a_reader_that_comes_back_has_in_the_end_what_one_has_that_stayed(seed: int, modes: tuple[str, ...]) -> None:
    rng = random.Random(seed)
    for event in (RICH, CHAT):
        parts = random_stream(rng, event)
        whole = read(event, deliveries(parts), *modes)
        had = read(event, deliveries(parts, merging=rng), *modes)
        cut = rng.randint(0, len(had))
        last = Seen.parse(had[cut - 1].id) if cut else NOTHING
        assert last is not None
        rest = read(event, deliveries(parts, merging=rng), *modes, after=last)
        if "messages-tuple" in modes or event is CHAT:
            tuples = ["messages-tuple"] if "messages-tuple" in modes else []
            if tuples:
                assert joined([*had[:cut], *rest], tuples) == joined(whole, tuples)
            else:
                assert told(rest)[-1:] == (told(whole)[-1:] if rest else [])
        else:
            assert [*had[:cut], *rest] == whole
        ids = [Seen.parse(one.id) for one in [*had[:cut], *rest]]
        assert all(one is not None for one in ids)
        places = [(one.attempt, one.position, one.sub) for one in ids if one is not None]
        assert places == sorted(set(places))


ANSWER = SendMessage(
    "Hello",
    [{"id": "m0", "role": "assistant", "content": "first"}, {"id": "m1", "role": "assistant", "content": "Hello"}],
    attempt=ATTEMPT,
    latency_ms=1,
)


def test_who_comes_after_the_end_is_given_it_once() -> None:
    view = RunEvents(RICH, ["values", "messages-tuple"])
    assert view.wants_end(ANSWER)
    made = view.ends(ANSWER, (), b'{"a": 1}')
    assert [name for name, _ in told(made)] == ["messages", "messages", "values"]
    assert [data[0]["content"] for name, data in told(made) if name == "messages"] == ["first", "Hello"]
    after = Seen.parse(made[1].id)
    assert after is not None
    again = RunEvents(RICH, ["values", "messages-tuple"], after=after)
    assert told(again.ends(ANSWER, (), b'{"a": 1}')) == [("values", {"a": 1})]


@pytest.mark.parametrize("behind", [(), ("updates",)], ids=["with the text", "with what was told behind it"])
def test_who_left_in_mid_answer_is_given_its_rest_after_the_end(behind: tuple[str, ...]) -> None:
    parts = [*streamed("m0", "first"), *streamed("m1", "Hel")[:3], *(step(method, {}) for method in behind)]
    had = read(RICH, deliveries(parts), "messages-tuple", "updates")
    last = Seen.parse(had[-1].id)
    assert last is not None
    made = RunEvents(RICH, ["messages-tuple"], after=last).ends(ANSWER, (), None)
    assert [(data[0]["id"], data[0]["content"]) for _, data in told(made)] == [("m1", "lo")]
    assert joined([*had, *made], ["messages-tuple"]) == {"m0": "first", "m1": "Hello"}


LOST: Sequence[Part] = [*streamed("m0", "fir", "st"), step("values", {"a": 1}), *streamed("m1", "Hel")[:3]]
"""An attempt that is lost behind its first superstep."""
FOLLOWING: Sequence[Part] = [step("values", {"a": 1}), *streamed("m2", "Hel", "lo"), step("values", {"a": 2})]
BOTH = SendMessage(
    "first\n\nHello",
    [{"id": "m0", "role": "assistant", "content": "first"}, {"id": "m2", "role": "assistant", "content": "Hello"}],
    attempt=8,
    latency_ms=1,
)


def of_a_chat() -> tuple[Sequence[Part], Sequence[Part]]:
    """The same two attempts of a run of which only its text is recorded: the second begins with what is committed."""
    lost, following = LiveStream(), LiveStream()
    for message_id, text in (("m0", "fir"), ("m0", "st"), ("m1", "Hel")):
        lost.append(message_id, text)
        if text == "st":
            lost.close("m0")
    following.begin_with("m0", "first")
    for text in ("Hel", "lo"):
        following.append("m2", text)
    return lost.beyond(0)[0], following.beyond(0)[0]


@pytest.mark.parametrize("event", [RICH, CHAT], ids=["rich", "chat"])
@pytest.mark.parametrize(
    ("here", "live"),
    [(True, True), (False, True), (False, False)],
    ids=["never left", "came back before the end", "came back after it"],
)
def test_what_an_attempt_has_committed_is_told_once_though_it_was_lost(event: Event, *, here: bool, live: bool) -> None:
    first, second = (LOST, FOLLOWING) if event is RICH else of_a_chat()
    lost = deliveries(first)
    following = [msgspec.structs.replace(one, attempt=8) for one in deliveries(second)]
    longest, longer = (len(read(event, seen, "messages-tuple", "values")) for seen in (lost, following))
    for left in range(longest + 1):
        for left_again in range(longer + 1):
            view = RunEvents(event, ["messages-tuple", "values"])
            told_first = [made for one in lost for made in view.take(one)][: longest if here else left]
            if not here:
                view = RunEvents(event, ["messages-tuple", "values"], after=last_of(told_first))
            told_then = [made for one in following for made in view.take(one, b"{}")]
            if not here:
                told_then = told_then[:left_again]
                view = RunEvents(event, ["messages-tuple", "values"], after=last_of([*told_first, *told_then]))
            if live and not here:
                told_then += [made for one in following for made in view.take(one, b"{}")]
            rest = view.ends(BOTH, (), None)
            texts = joined([*told_first, *told_then, *rest], ["messages-tuple"])
            if event is RICH and left_again and joined(told_first, ["messages-tuple"]).get("m0") != "first":
                assert "first".startswith(texts.pop("m0", "")), "the rest of it was given by `values`"
                texts["m0"] = "first"
            assert {**texts, "m1": ""} == {"m0": "first", "m1": "", "m2": "Hello"}, (left, left_again)


def last_of(events: Sequence[RunEvent]) -> Seen:
    found = Seen.parse(events[-1].id) if events else NOTHING
    assert found is not None
    return found


def test_a_reader_that_was_there_is_not_told_the_state_again() -> None:
    view = RunEvents(RICH, ["values"])
    for delivery in deliveries([step("values", {"a": 1})]):
        view.take(delivery)
    assert not view.wants_end(ANSWER)
    assert view.ends(ANSWER, (), None) == []


def test_an_attempt_that_follows_another_begins_with_what_is_committed() -> None:
    view = RunEvents(RICH, ["values"])
    assert not view.wants_state(ShowReset("r-1", 7, "started"))
    again = ShowReset("r-1", 8, "takeover")
    assert view.wants_state(again)
    assert told(view.take(again, b'{"a": 1}')) == [
        ("metadata", {"run_id": "run-1", "attempt": 8}),
        ("values", {"a": 1}),
    ]
    assert view.wants_state(ShowReset("r-1", 8, "resync", again=True)), "also to whoever comes when it speaks already"
    assert not view.wants_state(ShowReset("r-1", 7, "resync"))
    assert not RunEvents(RICH, ["custom"]).wants_state(again)
    assert not view.wants_state(ShowReset("another", 8, "takeover"))


def test_what_the_run_asks_is_told_where_the_run_did_not() -> None:
    question = RequestInput("abc:4", {"sure": True})
    asked = [{"value": {"sure": True}, "id": "abc"}]
    made = RunEvents(RICH, ["values", "updates"]).ends(ANSWER, (question,), b'{"a": 1}')
    assert told(made)[-2:] == [("updates", {"__interrupt__": asked}), ("values", {"a": 1, "__interrupt__": asked})]
    parked = RequestInput("breakpoint:1f0:4", {"type": "breakpoint"})
    assert told(RunEvents(RICH, ["values"]).ends(ANSWER, (parked,), b'{"a": 1}')) == [("values", {"a": 1})]
    view = RunEvents(RICH, ["values"])
    for delivery in deliveries([step("values", {"__interrupt__": asked})]):
        view.take(delivery)
    assert view.ends(ANSWER, (question,), None) == []


def test_a_failure_is_an_error_and_a_cancel_is_none() -> None:
    failed = ReportFailure("model_failed", "ValueError: the node raised", ATTEMPT)
    assert told(RunEvents(RICH, ["values"]).ends(failed, (), None)) == [
        ("error", {"error": "ValueError", "message": "the node raised"})
    ]
    late = ReportFailure("timed_out", "the turn took longer than 600 s", ATTEMPT)
    made = told(RunEvents(RICH, ["values"]).ends(late, (), None))
    assert made == [("error", {"error": "timed_out", "message": "the turn took longer than 600 s"})]
    assert told(RunEvents(RICH, ["values"]).ends(CancelTurn("so", ATTEMPT), (), b"{}")) == [("values", {})]


def test_other_runs_of_the_thread_are_none_of_its_business() -> None:
    view = RunEvents(RICH, ["values", "messages-tuple"])
    others: list[Delivery] = [
        ShowReset("another", 6, "started"),
        ShowText("another", 6, TextPart(0, "text", "m"), 0),
        ShowStep("another", 6, step("values", {}), 0),
    ]
    assert [made for delivery in others for made in view.take(delivery)] == []


@pytest.mark.parametrize("text", ["", "-1", "7", "7-1", "7-1-1-x", "7-end", "x-1-1", "7-1-1-0123456.1", "٧-1-1"])
def test_what_is_no_id_of_ours_counts_for_none(text: str) -> None:
    assert Seen.parse(text) is None


def test_the_length_of_what_was_told_is_counted_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of each piece's id: counted from the beginning, a long answer would cost its square."""
    counted: list[int] = []

    def counting(text: str) -> int:
        counted.append(len(text))
        return units(text)

    monkeypatch.setattr(message_chunks, "units", counting)
    messages = message_chunks.Messages({})
    message = [messages.text("m", "wörd🧭 ").message for _ in range(500)][-1]
    assert message.units == units("wörd🧭 ") * 500 == units(message.text)
    assert sum(counted) <= 2 * len(message.text)
