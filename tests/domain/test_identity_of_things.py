"""What makes two events or two effects the same: never the model's words, a clock or an id made anew (F2, I2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from unbroken.domain.effects import (
    LOGGED,
    EffectBody,
    NewEffect,
    ReportFailure,
    RequestInput,
    ScheduleTimer,
    SendMessage,
    SkipEvent,
    dedupe_key,
)
from unbroken.domain.events import (
    EventBody,
    InputResponse,
    NewEvent,
    RunStart,
    StateUpdate,
    TimerFired,
    UserMessage,
    body_hash,
    said_by,
)

event_ids = st.text(st.sampled_from("abc-0"), min_size=1, max_size=4)
node_paths = st.text(st.sampled_from("n/0|:"), max_size=6)
counts = st.integers(0, 12)
kinds = st.sampled_from(["send_message", "schedule_timer"])
places = st.tuples(event_ids, node_paths, counts, counts, kinds)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(places, places)
@example(("e", "n", 12, 0, "schedule_timer"), ("e", "n1", 2, 0, "schedule_timer"))
@example(("e", "n", 1, 23, "schedule_timer"), ("e", "n", 12, 3, "schedule_timer"))
@example(("e", "n", 1, 1, "schedule_timer"), ("en", "", 1, 1, "schedule_timer"))
def test_effects_of_different_places_never_share_a_dedupe_key(
    one: tuple[str, str, int, int, str], two: tuple[str, str, int, int, str]
) -> None:
    assert (dedupe_key(*one) == dedupe_key(*two)) == (one == two)


@given(values, values)
def test_bodies_are_the_same_exactly_if_their_json_is(one: Any, two: Any) -> None:
    same = msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(two, order="deterministic")
    assert (body_hash(InputResponse("q", one)) == body_hash(InputResponse("q", two))) == same


@given(st.dictionaries(st.text(max_size=3), values, min_size=2, max_size=4))
def test_the_order_of_keys_makes_no_difference(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert body_hash(InputResponse("q", value)) == body_hash(InputResponse("q", turned))


@given(values)
def test_a_body_is_the_same_after_a_database_has_held_it(value: Any) -> None:
    body = InputResponse("q", value)
    assert body_hash(msgspec.json.decode(msgspec.json.encode(body), type=EventBody)) == body_hash(body)


@pytest.mark.parametrize("body", [UserMessage("x"), InputResponse("q", 1), RunStart({"a": 1}), StateUpdate(1)])
def test_what_is_known_of_who_says_it_makes_no_other_body(
    body: UserMessage | InputResponse | RunStart | StateUpdate,
) -> None:
    """A client that says it again after its token was renewed says the same."""
    known = [replace(body, user={"identity": "ann", "exp": number}) for number in (1, 2)]
    assert len({body_hash(one) for one in (body, *known)}) == 1
    assert b'"user"' not in msgspec.json.encode(body)


@pytest.mark.parametrize("body", [UserMessage("x"), InputResponse("q", 1)])
def test_what_rules_set_of_a_chat_s_run_makes_no_other_body(body: UserMessage | InputResponse) -> None:
    set_ = [replace(body, config={"tags": [tag]}, context={"tag": tag}) for tag in ("a", "b")]
    assert len({body_hash(one) for one in (body, *set_)}) == 1
    assert b'"config"' not in msgspec.json.encode(body)


def test_bodies_of_different_kinds_are_never_the_same() -> None:
    bodies: list[EventBody] = [UserMessage("x"), InputResponse("x", "x"), TimerFired("x", 1), UserMessage(["x"])]  # type: ignore[list-item]
    assert len({body_hash(body) for body in bodies}) == len(bodies)


@pytest.mark.parametrize(
    ("body", "from_user"),
    [
        (UserMessage("x"), True),
        (InputResponse("q", 1), True),
        (RunStart({"a": 1}), True),
        (TimerFired("t", 1), False),
        (StateUpdate({"a": 1}), False),
    ],
)
def test_what_counts_as_said_by_a_user(body: EventBody, from_user: bool) -> None:
    assert NewEvent("e", "r", body).from_user is from_user


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        (SendMessage("x", [], 1, 1), True),
        (RequestInput("q", 1), True),
        (ReportFailure("code", "x", 1), True),
        (ScheduleTimer(1.0), False),
        (SkipEvent("x"), False),
    ],
)
def test_what_clients_see_of_effects(body: EffectBody, logged: bool) -> None:
    assert NewEffect("id", 0, body, "key").logged is logged
    assert isinstance(body, LOGGED) is logged


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (UserMessage("hello"), "hello"),
        (RunStart({"messages": [{"role": "user", "content": "hello"}]}), "hello"),
        (RunStart({"messages": [{"type": "human", "content": "a"}, {"type": "ai", "content": "b"}]}), "a"),
        (
            RunStart({"messages": [{"type": "human", "content": [{"type": "text", "text": "a"}]}]}),
            [{"type": "text", "text": "a"}],
        ),
        (RunStart({"messages": [{"type": "human", "content": 7}, 8]}), '{"messages":[{"type":"human","content":7},8]}'),
        (RunStart({"messages": "x"}), '{"messages":"x"}'),
        (RunStart([1, 2]), "[1,2]"),
        (RunStart(command={"resume": True}), '{"resume":true}'),
        (RunStart(), ""),
    ],
)
def test_what_people_see_of_a_run_s_input(body: UserMessage | RunStart, shown: object) -> None:
    assert said_by(body) == shown
