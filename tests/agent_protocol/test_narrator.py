"""What clients of the Agent Streaming Protocol are told, without a socket."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.agent_protocol.told import (
    ACCEPTED_AT,
    NOW_MS,
    answer,
    begins,
    brief,
    logged,
    narrator,
    spoken,
    streamed,
    told,
    user,
)
from unbroken.application.deliveries import Delivery, ShowText, ShowTool
from unbroken.domain.effects import CancelTurn, CloseQuestion, LoggedBody, ReportFailure, RequestInput
from unbroken.domain.live_stream import LiveStream
from unbroken.domain.stream_parts import TextPart, ToolPart
from unbroken.entrypoints.agent_protocol.wire import Event


def text(*pieces: tuple[str, str]) -> LiveStream:
    stream = LiveStream()
    for message_id, chunk in pieces:
        stream.append(message_id, chunk)
        if chunk.endswith("."):
            stream.close(message_id)
    return stream


def a_turn(attempt: int = 1) -> list[Delivery]:
    stream = text(("m1", "Let me "), ("m1", "look."), ("m2", "It is "), ("m2", "🧭"), ("m2", "so."))
    return [
        user(),
        begins(attempt),
        *streamed(stream, attempt),
        logged(1, answer(spoken("m1", "Let me look."), spoken("m2", "It is 🧭so."), attempt=attempt)),
    ]


def test_text_that_streams_becomes_messages_and_its_end_comes_from_the_log() -> None:
    assert brief(told(a_turn())) == [
        ("lifecycle", "running"),
        ("messages", "start m1"),
        ("messages", "start 0 ''"),
        ("messages", "Let me "),
        ("messages", "look."),
        ("messages", "finish 0 'Let me look.'"),
        ("messages", "finish m1"),
        ("messages", "start m2"),
        ("messages", "start 0 ''"),
        ("messages", "It is "),
        ("messages", "🧭"),
        ("messages", "so."),
        ("messages", "finish 0 'It is 🧭so.'"),
        ("messages", "finish m2"),
        ("values", "state"),
        ("lifecycle", "completed"),
    ]


def test_a_finished_turn_is_one_compact_sequence() -> None:
    end = logged(
        1, answer(spoken("m1", "Yes."), token_usage={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3})
    )
    events = told([user(), end])
    assert brief(events) == [
        ("lifecycle", "running"),
        ("messages", "start m1"),
        ("messages", "start 0 'Yes.'"),
        ("messages", "finish 0 'Yes.'"),
        ("messages", "finish m1"),
        ("values", "state"),
        ("lifecycle", "completed"),
    ]
    assert events[4].params.data["usage"]["total_tokens"] == 3
    committed_ms = round(ACCEPTED_AT.timestamp() * 1000) + 250
    assert {event.params.timestamp for event in events[1:]} == {committed_ms}, "not as if it had happened now"


def test_what_a_client_saw_live_and_what_the_log_repeats_have_the_same_names() -> None:
    """Clients drop an event whose id they know: a reconnect after the end doubles no message, and ends open ones."""
    live, log = told(a_turn()), told([user(), a_turn()[-1]])
    again = [event for event in log if event.event_id in {one.event_id for one in live}]
    assert [event for event in log if event not in again] == [], "nothing new for who saw it all"
    half = {event.event_id for event in live[:9]}
    assert brief(event for event in log if event.event_id not in half)[:3] == [
        ("messages", "finish 0 'It is 🧭so.'"),
        ("messages", "finish m2"),
        ("values", "state"),
    ]


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


def test_seq_grows_from_event_to_event_and_stays_exact_in_every_json_reader() -> None:
    events = told([*a_turn(7), *rich_turn(8, seq=2)])
    assert all(one < other for one, other in itertools.pairwise(seqs(events)))
    assert max(seqs(events)) < 2**53


def test_the_same_events_have_the_same_seq_and_id_for_everyone_who_follows_the_attempt() -> None:
    """Whatever pieces a reader's text comes in, and wherever it began to read."""
    events = told(a_turn())
    parts = (TextPart(0, "Let me look.", "m1"), TextPart(12, "\n\nIt is 🧭so.", "m2"))
    merged = [ShowText("request-1", 1, part, 0) for part in parts]
    other = told([user(), begins(1), *merged, a_turn()[-1]])
    names = {event.event_id: event.seq for event in events}
    for event in other:
        assert names[event.event_id] == event.seq


@pytest.mark.parametrize("seen", range(17))
def test_a_reader_that_comes_back_is_given_exactly_what_it_has_not_seen(seen: int) -> None:
    events = told(a_turn())
    since = events[seen - 1].seq if seen else None
    rest = [event for event in told(a_turn(), narrator(since)) if since is None or event.seq > since]
    assert brief(rest) == brief(events[seen:])


def test_text_is_cut_where_the_reader_stands_when_its_pieces_are_others_elsewhere() -> None:
    events = told(a_turn())
    since = next(event.seq for event in events if brief([event]) == [("messages", "🧭")])
    one_piece = ShowText("request-1", 1, TextPart(0, "Let me look.", "m1"), 0)
    other = ShowText("request-1", 1, TextPart(12, "\n\nIt is 🧭so.", "m2"), 0)
    deliveries = [user(), begins(1), one_piece, other, a_turn()[-1]]
    rest = [event for event in told(deliveries, narrator(since)) if event.seq > since]
    assert brief(rest)[0] == ("messages", "so.")
    assert brief(rest)[1] == ("messages", "finish 0 'It is 🧭so.'")


def test_text_is_cut_where_each_subscription_of_a_reader_stands() -> None:
    """Its subscriptions may have seen more or less of one part, and another replica's parts are others."""
    events = told(a_turn())
    texts = [event for event in events if event.event_id == str(event.seq)]
    one_piece = ShowText("request-1", 1, TextPart(0, "Let me look.", "m1"), 0)
    other = ShowText("request-1", 1, TextPart(12, "\n\nIt is 🧭so.", "m2"), 0)
    marks = [texts[0].seq, texts[2].seq, texts[3].seq]
    again = told([user(), begins(1), one_piece, other, a_turn()[-1]], narrator(*marks))
    for mark in marks:
        rest = "".join(event.params.data["delta"]["text"] for event in texts if event.seq > mark)
        given = [event for event in again if event.seq > mark and event.event_id == str(event.seq)]
        assert "".join(event.params.data["delta"]["text"] for event in given) == rest
        assert [event.seq for event in given] == sorted({event.seq for event in given})


def test_a_new_attempt_voids_what_the_old_one_left_open_and_gives_the_committed_state() -> None:
    started = [user(), begins(1), *streamed(text(("m1", "It will nev")), 1)]
    again = [
        begins(2, reason="takeover"),
        *streamed(text(("m2", "Yes.")), 2),
        logged(1, answer(spoken("m2", "Yes."), attempt=2)),
    ]
    assert brief(told([*started, *again]))[4:9] == [
        ("messages", "broke off m1"),
        ("lifecycle", "running"),
        ("values", "state"),
        ("messages", "start m2"),
        ("messages", "start 0 ''"),
    ]


def test_a_reader_that_comes_back_from_a_void_attempt_has_its_open_message_broken_off() -> None:
    """Its connection and the old attempt ended together, and nobody here knows which message it has open."""
    since = told([user(), begins(1), *streamed(text(("m1", "It will nev")), 1)])[-1].seq
    running = [user(), begins(2, reason="resync"), *streamed(text(("m2", "Yes.")), 2)]
    ended = [user(), logged(1, answer(spoken("m2", "Yes."), attempt=2))]
    for deliveries in (running, ended):
        rest = [event for event in told(deliveries, narrator(since)) if event.seq > since]
        assert brief(rest)[:2] == [("messages", "broke off None"), ("lifecycle", "running")]
    assert brief(told(running, narrator(since)))[2] == ("values", "state")
    assert brief(told(running, narrator(since, since - 8)))[2] == ("values", "state"), "with several subscriptions, too"


def test_who_was_cut_off_before_the_state_of_a_new_attempt_is_given_it_wherever_it_comes_back() -> None:
    """By then the attempt has begun to speak, and that it was a second one is not said any more."""
    speaking = streamed(text(("m2", "Yes.")), 2)
    live = told([user(), begins(1), *streamed(text(("m1", "It will nev")), 1), begins(2, reason="takeover"), *speaking])
    running = next(event for event in live if event.event_id.endswith("running|2"))
    again = told([user(), begins(2, reason="resync", again=True), *speaking], narrator(running.seq))
    rest = [event for event in again if event.seq > running.seq]
    assert [event.seq for event in rest] == [event.seq for event in live if event.seq > running.seq]
    assert brief(rest)[0] == ("values", "state")


def test_who_has_seen_a_turn_s_end_has_nothing_broken_off_by_the_next_one() -> None:
    since = told(a_turn())[-1].seq
    rest = told([user(2), begins(2, 2)], narrator(since))
    assert brief(rest) == [("lifecycle", "running")]


def test_a_question_is_asked_when_it_is_durable_and_then_the_run_is_interrupted() -> None:
    turn = [
        user(),
        logged(1, answer(waiting=True)),
        logged(2, RequestInput("q:1", {"sure": True})),
        logged(3, RequestInput("r:1", 2)),
    ]
    events = told(turn)
    assert brief(events) == [
        ("lifecycle", "running"),
        ("values", "state"),
        ("input.requested", {"interrupt_id": "q", "payload": {"sure": True}, "value": {"sure": True}}),
        ("input.requested", {"interrupt_id": "r", "payload": 2, "value": 2}),
        ("lifecycle", "interrupted"),
    ]
    assert {event.event_id.split(":")[1] for event in events if event.method != "values"} == {"event-1"}, "the run's id"


def test_an_answer_from_anywhere_is_told_before_what_came_of_it() -> None:
    asked = [user(), logged(1, answer(waiting=True)), logged(2, RequestInput("q:1", None))]
    answered = [
        user(2),
        logged(3, CloseQuestion("q:1", "answered"), 2),
        logged(4, answer(spoken("m", "Done."), attempt=2), 2),
    ]
    events = told([*asked, *answered])
    assert brief(events)[4:6] == [("lifecycle", "running"), ("input.answered", {"interrupt_ids": ["q"]})]
    assert all(one < other for one, other in itertools.pairwise(seqs(events)))


def test_a_cancelled_turn_keeps_what_was_shown_and_is_interrupted() -> None:
    turn = [user(), begins(1), *streamed(text(("m1", "So f")), 1), logged(1, CancelTurn("So f", 1))]
    assert brief(told(turn))[4:] == [
        ("messages", "finish 0 'So f'"),
        ("messages", "finish m1"),
        ("values", "state"),
        ("lifecycle", "interrupted"),
    ]


def test_a_failed_turn_breaks_off_what_is_open_and_says_why() -> None:
    stream = text(("m1", "So f"))
    tool = ShowTool("request-1", 1, ToolPart(4, "t", "search", "started", '{"q": 1}'), 0)
    turn = [user(), begins(1), *streamed(stream, 1), tool, logged(1, ReportFailure("model_failed", "no credit", 1))]
    events = told(turn)
    assert brief(events)[4:] == [
        ("tools", "tool-started"),
        ("messages", "broke off m1"),
        ("tools", "tool-error"),
        ("values", "state"),
        ("lifecycle", "failed"),
    ]
    assert events[4].params.data["input"] == {"q": 1}
    assert events[-1].params.data["error"] == "no credit"


def test_a_subgraphs_tool_of_a_chat_is_told_where_it_is_called() -> None:
    tool = ShowTool("request-1", 1, ToolPart(0, "t", "search", "started", '{"q": 1}', ("sub:1",)), 0)
    (event,) = told([user(), begins(1), tool])[1:]
    assert (event.method, event.params.namespace) == ("tools", ("sub:1",))


def at_work(attempt: int = 1) -> list[Delivery]:
    """A message and a tool are open, and two subgraphs are at work."""
    stream = text(("m1", "So f"))
    for name in ("child:1", "child:2"):
        step(stream, "tasks", b'{"id":"1","name":"x"}', (name,))
    tool = ShowTool("request-1", attempt, ToolPart(4, "t", "search", "started", "{}"), 2)
    return [user(), begins(attempt), *streamed(stream, attempt), tool]


@pytest.mark.parametrize(
    "end",
    [
        [CancelTurn("So f", 1)],
        [CancelTurn("", 1)],
        [ReportFailure("model_failed", "no credit", 1)],
        [answer(spoken("m1", "So far."))],
        [answer(spoken("m1", "So far."), waiting=True), RequestInput("q:1", 1), RequestInput("r:1", 2)],
    ],
)
def test_who_is_cut_off_in_the_telling_of_an_end_is_told_the_rest_by_whoever_has_the_log_alone(
    end: list[LoggedBody],
) -> None:
    """The server died between two events of it, and with it all that was live."""
    log = [logged(index, body) for index, body in enumerate(end, 1)]
    live = told([*at_work(), *log])
    assert seqs(live) == sorted(set(seqs(live)))
    for seen in range(len(live)):
        since = live[seen].seq
        again = [event for event in told([user(), *log], narrator(since)) if event.seq > since]
        owed = [event for event in live[seen + 1 :] if event.method in ("values", "input.requested")]
        given = {event.event_id for event in again}
        assert {event.event_id for event in owed} <= given, f"{brief(live)[: seen + 1]} were seen"
        assert again == [] or brief(again)[-1] == brief(live)[-1]
        assert not {event.event_id for event in live[: seen + 1] if event.method == "input.requested"} & given


def test_tools_are_told_once_live_or_from_the_log() -> None:
    calls = [{"id": "t", "name": "search", "args": {"q": 1}}]
    content = (
        spoken("m1", "Looking.", tool_calls=calls),
        {"id": "m2", "role": "tool", "content": "found", "tool_call_id": "t", "name": "search", "status": "success"},
    )
    started = ShowTool("request-1", 1, ToolPart(0, "t", "search", "started", '{"q": 1}'), 0)
    finished = ShowTool("request-1", 1, ToolPart(0, "t", "search", "finished", "found"), 1)
    live = told([user(), begins(1), started, finished, logged(1, answer(*content))])
    log = told([user(), logged(1, answer(*content))])
    for events in (live, log):
        tools = [event for event in events if event.method == "tools"]
        assert [event.params.data["event"] for event in tools] == ["tool-started", "tool-finished"]
        assert tools[1].params.data["output"] == "found"
    blocks = [
        event.params.data["content"] for event in log if event.params.data is not None and "content" in _data(event)
    ]
    assert {"type": "tool_call", "id": "t", "name": "search", "args": {"q": 1}} in blocks


def _data(event: Event) -> dict[str, Any]:
    return event.params.data if isinstance(event.params.data, dict) else {}


def step(stream: LiveStream, method: str, data: bytes, namespace: tuple[str, ...] = ()) -> None:
    stream.step(method, namespace, data)


def rich_turn(attempt: int, seq: int = 1) -> list[Delivery]:
    stream = LiveStream()
    step(stream, "messages", b'{"event":"message-start","role":"ai","id":"m1","run_id":"r"}')
    step(
        stream,
        "messages",
        b'{"event":"content-block-start","index":0,"content":{"type":"text","text":""},"message_id":"m1"}',
    )
    stream.append("m1", "Yes.")
    step(stream, "custom", b'{"progress":1}')
    step(stream, "updates", b'{"node":{"messages":[]}}')
    step(stream, "updates", b'{"__interrupt__":[{"id":"q","value":1}]}')
    step(stream, "tasks", b'{"id":"1","name":"x"}', ("child:1",))
    place = b'"config":{"configurable":{"checkpoint_id":"c2"}},"parent_config":{"configurable":{"checkpoint_id":"c1"}}'
    step(stream, "checkpoints", b'{%s,"values":{"x":1},"metadata":{"step":1,"source":"loop"}}' % place)
    step(stream, "values", b'{"messages":[],"__interrupt__":[]}')
    return [
        user(seq, rich=True),
        begins(attempt, seq),
        *streamed(stream, attempt, seq),
        logged(seq, answer(spoken("m1", "Yes."), attempt=attempt), seq, rich=True),
    ]


def test_a_rich_run_is_told_as_it_recorded_itself() -> None:
    events = told(rich_turn(1))
    assert brief(events) == [
        ("lifecycle", "running"),
        ("messages", {"event": "message-start", "role": "ai", "id": "m1", "run_id": "r"}),
        (
            "messages",
            {
                "event": "content-block-start",
                "index": 0,
                "content": {"type": "text", "text": ""},
                "message_id": "m1",
            },
        ),
        ("custom", {"payload": events[3].params.data["payload"]}),
        ("updates", {"messages": []}),
        ("lifecycle", "started"),
        ("tasks", {"id": "1", "name": "x"}),
        ("checkpoints", {"id": "c2", "step": 1, "source": "loop", "parent_id": "c1"}),
        ("values", {"messages": []}),
        ("messages", "finish 0 'Yes.'"),
        ("messages", "finish m1"),
        ("lifecycle", "completed"),
        ("lifecycle", "completed"),
    ]
    assert events[4].params.node == "node"
    assert events[5].params.namespace == ("child:1",)
    assert events[3].params.timestamp == NOW_MS
