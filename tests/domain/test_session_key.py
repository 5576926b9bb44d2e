"""SessionKey: three parts that never mix, whatever they hold (K1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.domain.errors import InvalidValue
from unbroken.domain.session import MAX_ID_LENGTH, SessionKey

parts = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), min_size=1, max_size=20)
awkward = st.text(st.sampled_from(":%/ 3Aa\u00e9\U0001f600"), min_size=1, max_size=8)
ids = st.one_of(parts, awkward)
keys = st.builds(SessionKey, ids, ids, ids)


@given(keys)
def test_a_key_is_read_back_from_how_it_is_written(key: SessionKey) -> None:
    assert SessionKey.parse(str(key)) == key


@given(keys, keys)
def test_different_keys_are_written_differently(one: SessionKey, two: SessionKey) -> None:
    assert (str(one) == str(two)) == (one == two)


@given(keys)
def test_a_written_key_is_plain_ascii_with_two_colons(key: SessionKey) -> None:
    assert str(key).isascii()
    assert str(key).isprintable()
    assert str(key).count(":") == 2


@given(st.text(max_size=40))
def test_whatever_is_read_as_a_key_is_how_that_key_is_written(text: str) -> None:
    try:
        key = SessionKey.parse(text)
    except InvalidValue:
        return
    assert str(key) == text


@pytest.mark.parametrize(
    "text", ["", "a:b", "a:b:c:d", "::", "a::c", "a:b:%41", "a:b:%ff", "a:b:%", "a b:c:d", "é:b:c", "a:b:%3a"]
)
def test_what_no_key_is_written_as_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        SessionKey.parse(text)


@pytest.mark.parametrize("field", ["user_id", "agent_id", "thread_id"])
@pytest.mark.parametrize("value", ["", "x" * (MAX_ID_LENGTH + 1), "a\x00b", "half \ud800", "\udfff"])
def test_a_part_that_cannot_be_stored_is_refused_by_name(field: str, value: str) -> None:
    parts = {"user_id": "u", "agent_id": "a", "thread_id": "t", field: value}
    with pytest.raises(InvalidValue) as refusal:
        SessionKey(**parts)
    assert refusal.value.field == field


def test_whatever_could_be_mistaken_is_escaped() -> None:
    assert str(SessionKey("a:b", "x/y é", "100%")) == "a%3Ab:x%2Fy%20%C3%A9:100%25"


def test_a_part_may_be_as_long_as_the_limit() -> None:
    key = SessionKey("é" * MAX_ID_LENGTH, "a", "t" * MAX_ID_LENGTH)
    assert SessionKey.parse(str(key)) == key
