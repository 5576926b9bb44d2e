"""LiveStream: one text of UTF-16 positions, well-formed once, bounded (I6, I12), against an oracle in UTF-16."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.domain.errors import AnswerTooLong
from unbroken.domain.growing import MAX_PART_UNITS
from unbroken.domain.live_stream import (
    MAX_TOOL_STEPS,
    MAX_UNITS,
    LiveStream,
)
from unbroken.domain.stream_parts import BETWEEN_MESSAGES, TextPart, ToolPart, join_messages
from unbroken.domain.utf16 import REPLACEMENT, beginning, cut, units, well_formed

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


@given(raw.map(well_formed), st.integers(0, 30))
def test_a_beginning_is_as_long_as_it_may_be_and_what_follows_it_is_the_rest(text: str, most: int) -> None:
    begins = beginning(text, most)
    assert begins + cut(text, units(begins)) == text
    assert units(begins) <= most
    assert units(begins) >= min(most, units(text)) - 1


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


def test_tool_steps_stand_where_the_text_was_and_are_well_formed() -> None:
    stream = LiveStream()
    stream.append("m", "\U0001f600")
    stream.tool("c\ud800", "look\x00", "finished", "half \udfff")
    stream.append("m", "!")
    assert stream.parts[1] == ToolPart(2, f"c{REPLACEMENT}", f"look{REPLACEMENT}", "finished", f"half {REPLACEMENT}")
    assert stream.parts[2] == TextPart(2, "!", "m")
