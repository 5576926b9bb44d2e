"""LiveStream: one text of UTF-16 positions, well-formed once, bounded (I6, I12), against an oracle in UTF-16."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

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
from unbroken.domain.stream_parts import BETWEEN_MESSAGES, Part, StepPart, TextPart, ToolPart, all_merged, join_messages
from unbroken.domain.utf16 import REPLACEMENT, cut, units, well_formed

raw = st.text(st.sampled_from("ab\x00\n\u00e9\u4e2d\U0001f600\ud83d\ude00\udfff"), max_size=12)
"""As models send it: half pairs and U+0000 included."""
clean = st.text(st.sampled_from("ab\n\u00e9\u4e2d\U0001f600\U00010000\uffff"), max_size=30)


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def streamed(*chunks: str, message_id: str = "m") -> LiveStream:
    stream = LiveStream()
    for chunk in chunks:
        stream.append(message_id, chunk)
    stream.close(message_id)
    return stream


def texts(stream: LiveStream) -> list[TextPart]:
    return [part for part in stream.parts if isinstance(part, TextPart)]


def replacing(text: str) -> str:
    """The oracle: the same text, unit by unit, with whatever is not well-formed replaced."""
    encoded = utf16(text)
    found = [int.from_bytes(encoded[at : at + 2], "little") for at in range(0, len(encoded), 2)]
    shown, at = [], 0
    while at < len(found):
        unit = found[at]
        following = found[at + 1] if at + 1 < len(found) else 0
        if 0xD800 <= unit < 0xDC00 <= following < 0xE000:
            shown.append(chr(0x10000 + ((unit - 0xD800) << 10) + (following - 0xDC00)))
            at += 2
            continue
        shown.append(REPLACEMENT if unit == 0 or 0xD800 <= unit < 0xE000 else chr(unit))
        at += 1
    return "".join(shown)


@given(raw)
def test_well_formed_text_differs_only_where_it_must(text: str) -> None:
    assert well_formed(text) == replacing(text)
    assert well_formed(well_formed(text)) == well_formed(text)


@given(clean)
def test_units_are_utf16_code_units(text: str) -> None:
    assert units(text) == len(utf16(text)) // 2


@given(clean, st.integers(0, 70))
def test_cutting_counts_units_and_rounds_down_inside_a_pair(text: str, offset: int) -> None:
    encoded = utf16(text)
    start = min(2 * offset, len(encoded))
    if encoded[start : start + 2] and 0xDC00 <= int.from_bytes(encoded[start : start + 2], "little") < 0xE000:
        start -= 2
    assert utf16(cut(text, offset)) == encoded[start:]


@given(st.lists(raw, max_size=8))
def test_the_text_is_that_of_all_chunks_together_wherever_they_were_split(chunks: list[str]) -> None:
    stream = streamed(*chunks)
    assert stream.text == replacing("".join(chunks))
    assert stream.length == units(stream.text)


@given(st.lists(raw, max_size=8))
def test_half_a_pair_is_never_shown_while_its_other_half_may_come(chunks: list[str]) -> None:
    stream = LiveStream()
    whole = replacing("".join(chunks))
    for chunk in chunks:
        stream.append("m", chunk)
        assert whole.startswith(stream.text), "what was shown is not the beginning of what followed"


@given(st.lists(clean, max_size=8))
def test_parts_follow_each_other_without_gap_or_overlap(chunks: list[str]) -> None:
    parts = texts(streamed(*chunks))
    ends = [0, *(part.offset + units(part.text) for part in parts)]
    assert [part.offset for part in parts] == ends[:-1]
    assert all(part.text for part in parts)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.sampled_from("xyz"), raw),
        st.tuples(st.just("end"), st.sampled_from("xyz"), st.just("")),
        st.tuples(st.just("tool"), st.sampled_from("xyz"), st.just("")),
    ),
    max_size=25,
)


@given(steps, st.integers(0, 60))
def test_a_reader_at_any_offset_gets_exactly_the_rest_and_every_tool_step(
    history: list[tuple[str, str, str]], offset: int
) -> None:
    stream = LiveStream()
    for kind, name, text in history:
        if kind == "text":
            stream.append(name, text)
        elif kind == "end":
            stream.close(name)
        else:
            stream.tool(name, "look", "started")
    lacking = stream.after(offset)
    rest = [part for part in lacking if isinstance(part, TextPart)]
    assert "".join(part.text for part in rest) == cut(stream.text, offset)
    if rest:
        assert rest[0].offset == stream.length - sum(units(part.text) for part in rest)
        assert all(one.offset + units(one.text) == two.offset for one, two in pairwise(rest))
    assert [part for part in lacking if isinstance(part, ToolPart)] == [
        part for part in stream.parts if isinstance(part, ToolPart)
    ]
    assert lacking == sorted(lacking, key=lambda part: isinstance(part, ToolPart)), "a tool stands before the text"


@given(steps)
def test_each_message_stays_in_one_piece_in_the_order_they_began(history: list[tuple[str, str, str]]) -> None:
    stream = LiveStream()
    said: dict[str, str] = {}
    ended: set[str] = set()
    for kind, name, text in history:
        if kind == "text":
            stream.append(name, text)
            if text and name not in ended:
                said[name] = said.get(name, "") + text
        elif kind == "end" and name in said:
            stream.close(name)
            ended.add(name)
    for name in said:
        stream.close(name)
    assert stream.text == join_messages([replacing(text) for text in said.values()])


@given(steps)
def test_the_text_only_ever_grows(history: list[tuple[str, str, str]]) -> None:
    stream, before = LiveStream(), ""
    for kind, name, text in history:
        stream.append(name, text) if kind == "text" else stream.close(name)
        assert stream.text.startswith(before)
        before = stream.text


def test_another_messages_chunks_wait_until_the_first_one_ends() -> None:
    stream = LiveStream()
    stream.append("a", "one ")
    stream.append("b", "two")
    stream.append("a", "more")
    assert stream.text == "one more"
    stream.close("a")
    assert stream.text == "one more\n\ntwo"
    assert [part.message_id for part in texts(stream)] == ["a", "a", "b"]


def test_a_message_that_ended_while_it_waited_blocks_nobody() -> None:
    stream = LiveStream()
    for message_id in ("a", "b", "c"):
        stream.append(message_id, message_id)
    stream.close("b")
    stream.append("b", "too late")
    stream.close("a")
    stream.append("c", "!")
    assert stream.text == "a\n\nb\n\nc!"


def test_an_empty_chunk_begins_no_message() -> None:
    stream = LiveStream()
    stream.append("a", "one")
    stream.append("stray", "")
    stream.close("a")
    stream.append("stray", "")
    stream.append("b", "two")
    assert stream.text == "one\n\ntwo"


def test_chunks_after_a_messages_end_are_dropped() -> None:
    stream = streamed("one")
    stream.append("m", "late")
    stream.append("n", "two")
    assert stream.text == "one\n\ntwo"


def test_a_high_surrogate_waits_for_its_own_message_only() -> None:
    stream = LiveStream()
    stream.append("a", "x\ud83d")
    stream.append("b", "\ude00y")
    assert stream.text == "x"
    stream.close("a")
    assert stream.text == f"x{REPLACEMENT}{BETWEEN_MESSAGES}{REPLACEMENT}y"


def test_a_resumed_attempt_begins_with_what_was_committed() -> None:
    stream = LiveStream()
    stream.begin_with("a", "one")
    stream.begin_with("silent", "")
    stream.begin_with("b", "two")
    assert stream.text == "one\n\ntwo"
    stream.append("a", "again")
    stream.append("c", "three")
    assert stream.text == "one\n\ntwo\n\nthree"


@given(clean, clean)
def test_completing_appends_what_the_state_has_beyond_the_stream(shown: str, more: str) -> None:
    stream = streamed(shown)
    assert stream.complete(shown + more, "state")
    assert stream.text == shown + more
    assert stream.length == units(shown + more)


@given(clean, clean)
def test_completing_with_another_text_changes_nothing(shown: str, other: str) -> None:
    stream = streamed(shown)
    if not other.startswith(shown):
        assert not stream.complete(other, "state")
        assert stream.text == shown


def test_no_part_is_longer_than_a_frame_may_be() -> None:
    for text in ("x" * 20_000, "\U0001f600" * 9_000, "x" + "\U0001f600" * 9_000, "é" * (MAX_PART_UNITS + 1)):
        stream = streamed(text)
        assert stream.text == text
        assert max(units(part.text) for part in texts(stream)) <= MAX_PART_UNITS
        assert stream.after(MAX_PART_UNITS - 1)


def test_a_chunk_that_goes_on_is_divided_as_a_first_one_is() -> None:
    stream = LiveStream()
    stream.append("m", "x")
    stream.append("m", "y" * 20_000)
    assert stream.text == "x" + "y" * 20_000
    assert max(units(part.text) for part in texts(stream)) <= MAX_PART_UNITS


def test_an_answer_may_be_as_long_as_the_bound_and_no_longer() -> None:
    stream = LiveStream()
    stream.append("m", "x" * (MAX_UNITS - 1))
    with pytest.raises(AnswerTooLong):
        stream.append("m", "\U0001f600")
    stream.append("m", "y")
    with pytest.raises(AnswerTooLong):
        stream.append("m", "z")
    assert stream.length == MAX_UNITS
    assert stream.text.startswith("xxx"), "the beginning was dropped"


def test_what_waits_counts_against_the_bound_too() -> None:
    stream = LiveStream()
    stream.append("a", "x")
    stream.append("b", "y" * (MAX_UNITS - 1))
    with pytest.raises(AnswerTooLong):
        stream.append("c", "z")


def test_what_waited_counts_once() -> None:
    stream = LiveStream()
    for message_id in "abcd":
        stream.append(message_id, message_id * (MAX_UNITS // 5))
    for message_id in "abcd":
        stream.close(message_id)
    stream.append("e", "e" * (MAX_UNITS // 6))
    stream.append("f", "f")
    stream.close("e")
    assert stream.text.endswith("ee\n\nf")


def test_a_turn_may_take_as_many_tool_steps_as_the_bound_and_no_more() -> None:
    stream = LiveStream()
    for _ in range(MAX_TOOL_STEPS):
        stream.tool("c", "look", "started")
    with pytest.raises(AnswerTooLong):
        stream.tool("c", "look", "finished")


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


def test_tool_steps_stand_where_the_text_was_and_are_well_formed() -> None:
    stream = LiveStream()
    stream.append("m", "\U0001f600")
    stream.tool("c\ud800", "look\x00", "finished", "half \udfff")
    stream.append("m", "!")
    assert stream.parts[1] == ToolPart(2, f"c{REPLACEMENT}", f"look{REPLACEMENT}", "finished", f"half {REPLACEMENT}")
    assert stream.parts[2] == TextPart(2, "!", "m")


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
