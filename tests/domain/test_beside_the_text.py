"""What is shown beside the text: one place on every replica, and bounded, however much a model thinks."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.domain.errors import AnswerTooLong
from unbroken.domain.growing import MAX_PART_UNITS
from unbroken.domain.live_stream import (
    MAX_GROWN_UNITS,
    MAX_STEP_BYTES,
    MAX_STEPS,
    MAX_TOOL_STEPS,
    MAX_UNITS,
    LiveStream,
)
from unbroken.domain.stream_parts import Part, StepPart, TextPart, ToolPart, all_merged
from unbroken.domain.utf16 import cut, well_formed

raw = st.text(st.sampled_from("ab\x00\n\u00e9\u4e2d\U0001f600\ud83d\ude00\udfff"), max_size=12)
"""As models send it: half pairs and U+0000 included."""


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def say(stream: LiveStream, kind: str, text: str) -> None:
    if kind == "tool":
        stream.tool(text, "look", "started")
    elif kind.startswith("think"):
        thinks(stream, well_formed(text), kind)
    elif kind == "step":
        stream.step("custom", ("inner",), msgspec.json.encode(len(text)))
    else:
        stream.append(kind, text)


histories = st.lists(st.tuples(st.sampled_from(["m", "n", "tool", "step", "think", "thinker"]), raw), max_size=30)


def portions(stream: LiveStream) -> list[Part]:
    """Everything in it, as it is sent to whoever reads along."""
    return all_merged(stream.beyond(0)[0])


def thinks(stream: LiveStream, text: str, message_id: str = "m", namespace: tuple[str, ...] = ()) -> None:
    stream.step("reasoning", namespace, msgspec.json.encode({"messageId": message_id, "text": text}))


def cells(parts: Iterable[Part]) -> list[str]:
    """What stands at each place."""
    found: list[str] = []
    for part in parts:
        if isinstance(part, TextPart):
            found += (f"{part.message_id}: {unit!r}" for unit in as_units(part.text))
        elif isinstance(part, StepPart) and part.method == "reasoning" and part.data is not None:
            said = msgspec.json.decode(part.data)
            about = f"{part.namespace} {said['messageId']} thinks at {part.offset}"
            assert part.sides == len(as_units(said["text"])) > 0
            found += (f"{about}: {unit!r}" for unit in as_units(said["text"]))
        else:
            found.append(repr(part))
    return found


def as_units(text: str) -> list[bytes]:
    encoded = utf16(text)
    return [encoded[at : at + 2] for at in range(0, len(encoded), 2)]


@given(histories, st.data())
def test_a_mirror_holds_what_the_stream_holds_in_whatever_pieces_it_came(
    said: list[tuple[str, str]], data: st.DataObject
) -> None:
    stream, mirror = LiveStream(), LiveStream()
    for kind, text in said:
        say(stream, kind, text)
    parts = portions(stream)
    while parts:
        size = data.draw(st.integers(1, len(parts)))
        assert mirror.mirror(parts[:size])
        del parts[:size]
    assert (mirror.text, mirror.length) == (stream.text, stream.length)
    assert cells(mirror.beyond(0)[0]) == cells(stream.beyond(0)[0])
    assert mirror.position == stream.position
    for offset in range(stream.length + 1):
        assert text_after(mirror, offset) == text_after(stream, offset)


def text_after(stream: LiveStream, offset: int) -> str:
    return "".join(part.text for part in stream.after(offset) if isinstance(part, TextPart))


@pytest.mark.parametrize(
    "parts",
    [
        [TextPart(3, "x", "m")],
        [TextPart(1, "x", "m")],
        [TextPart(2, "", "m")],
        [TextPart(2, "x\x00", "m")],
        [TextPart(2, "x" * (MAX_PART_UNITS + 1), "m")],
        [TextPart(2, "x", "m"), TextPart(4, "x", "m")],
        [TextPart(2, "\U0001f600", "m"), TextPart(3, "x", "m")],
        [ToolPart(3, "c", "look", "started")],
        [ToolPart(2, "c", "look", "started")] * MAX_TOOL_STEPS,
        [StepPart(1, "custom", (), b"1")],
        [StepPart(2, "custom", (), b"{")],
        [StepPart(2, "custom", (), None, 1)] * (MAX_STEPS + 1),
        [StepPart(2, "custom", (), None, 2)],
        [StepPart(2, "aside", (), None, MAX_PART_UNITS + 1)],
        [StepPart(2, "aside", (), None, 0)],
        [StepPart(2, "aside", (), b'{"messageId":"m","text":""}')],
        [StepPart(2, "aside", (), b'{"text":"x"}')],
        [StepPart(2, "aside", (), None, MAX_PART_UNITS)] * (MAX_GROWN_UNITS // MAX_PART_UNITS + 1),
        [TextPart(2 + n * 8_000, "x" * 8_000, "m") for n in range(MAX_UNITS // 8_000 + 1)],
    ],
)
def test_a_mirror_takes_all_that_goes_on_or_nothing(parts: list[Part]) -> None:
    mirror = LiveStream()
    assert mirror.mirror([TextPart(0, "ab", "m"), ToolPart(2, "c", "look", "started")])
    assert not mirror.mirror([TextPart(2, "fits", "m"), *parts] if parts[0].offset != 2 else parts)
    assert (mirror.text, len(mirror.parts)) == ("ab", 2)
    assert mirror.mirror([TextPart(2, "c", "m")])
    assert mirror.text == "abc"


@given(histories, st.data())
def test_a_place_is_the_same_in_a_mirror_and_what_lies_beyond_it_follows_exactly(
    said: list[tuple[str, str]], data: st.DataObject
) -> None:
    stream, mirror = LiveStream(), LiveStream()
    for kind, text in said:
        say(stream, kind, text)
    assert mirror.mirror(portions(stream))
    end = stream.beyond(stream.position)[1]
    whole = cells(stream.beyond(0)[0])
    assert end.position == stream.position == len(whole)
    position = data.draw(st.integers(0, end.position))
    for one in (stream, mirror):
        lacking, place = one.beyond(position)
        assert place == stream.beyond(position)[1]
        assert position - 1 <= place.position <= position, "at most half a surrogate pair before it"
        assert "".join(part.text for part in lacking if isinstance(part, TextPart)) == cut(stream.text, place.units)
        assert cells(lacking) == whole[place.position :]


def test_of_too_much_beside_the_text_the_oldest_loses_its_data_and_the_newest_never() -> None:
    stream = LiveStream()
    third = b'"' + b"x" * (MAX_STEP_BYTES // 3) + b'"'
    for number in range(3):
        stream.step("values", (), third)
        assert all(isinstance(part, StepPart) and part.data == third for part in stream.parts[number - 1 :])
    kept = [part.data is not None for part in stream.parts if isinstance(part, StepPart)]
    assert kept == [False, True, True]
    stream.step("values", (), third * 4)
    kept = [part.data is not None for part in stream.parts if isinstance(part, StepPart)]
    assert kept == [False, False, False, True]


def test_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbroken.domain.live_stream.MAX_STEPS", 3)
    stream = LiveStream()
    for _ in range(3):
        stream.step("custom", (), b"1")
    with pytest.raises(AnswerTooLong, match="more than 3 steps"):
        stream.step("custom", (), b"1")


def test_whoever_thinks_for_an_hour_is_held_in_bounded_memory_and_still_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unbroken.domain.live_stream.MAX_STEP_BYTES", 200_000)
    stream, words = LiveStream(), 110_000
    for _ in range(words):
        thinks(stream, "so 🙂 ")
    stream.append("m", "Yes.")
    assert stream.text == "Yes."
    assert stream.sides == 6 * words
    assert len(stream.parts) < 6 * words // MAX_PART_UNITS + 3
    assert stream.weight < 300_000
    lacking, place = stream.beyond(0)
    assert place.position == 0
    kept = [part.data is not None for part in lacking if isinstance(part, StepPart)]
    assert kept == sorted(kept), "the oldest went first"
    assert 0 < sum(kept) < len(kept)
    assert sum(part.sides for part in lacking if isinstance(part, StepPart)) == stream.sides, "and keeps its place"
    mirror = LiveStream()
    assert mirror.mirror(all_merged(lacking))
    assert (mirror.position, mirror.text) == (stream.position, "Yes.")


def test_thoughts_beyond_the_bound_are_not_shown_and_fail_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbroken.domain.live_stream.MAX_STEPS", 3)
    monkeypatch.setattr("unbroken.domain.live_stream.MAX_GROWN_UNITS", 100)
    side_by_side, long = LiveStream(), LiveStream()
    for number in range(8):
        thinks(side_by_side, "x", f"{number}")
        thinks(long, "x" * 30)
    assert (side_by_side.sides, long.sides) == (3, 90)
    for stream in (side_by_side, long):
        for _ in range(3):
            stream.step("custom", (), b"1")
        stream.append("m", "and yet")
        assert stream.text == "and yet"


def test_the_newest_thought_is_not_let_go_of_while_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbroken.domain.live_stream.MAX_STEP_BYTES", 1_000)
    stream = LiveStream()
    for _ in range(200):
        thinks(stream, "hmm " * 10)
    assert cells(stream.beyond(stream.position - 40)[0])[-1].endswith(repr(utf16(" ")))


def test_a_thought_that_comes_at_once_is_divided() -> None:
    stream = LiveStream()
    thinks(stream, "🙂" * MAX_PART_UNITS)
    assert [part.sides for part in stream.beyond(0)[0] if isinstance(part, StepPart)] == [MAX_PART_UNITS] * 2


def test_steps_that_were_let_go_of_cost_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbroken.domain.live_stream.MAX_STEP_BYTES", 10_000)
    stream = LiveStream()
    for number in range(5_000):
        stream.step("messages", (), b"%d" % number)
    assert stream.weight < 10_000 + 5_000 * 16 + 100 * 60
    assert len(set(map(id, stream.parts))) < 60, "they are one and the same"


def test_tools_of_subgraphs_beyond_the_bound_are_not_shown_and_fail_nothing() -> None:
    stream, mirror = LiveStream(), LiveStream()
    for _ in range(MAX_TOOL_STEPS + 5):
        stream.tool("c", "look", "started", None, ("inner",))
    stream.tool("c", "look", "started")
    stream.append("m", "and yet")
    assert len(stream.parts) == MAX_TOOL_STEPS + 2
    assert mirror.mirror(portions(stream))
    assert mirror.parts == stream.parts
    assert not mirror.mirror([ToolPart(7, "c", "look", "started", None, ("inner",))])
    assert mirror.mirror([ToolPart(7, "c", "look", "started")])
