from __future__ import annotations

import pytest

from unbroken.entrypoints.web.query import BadQuery, Hello, parse_query


@pytest.mark.parametrize(
    ("query", "hello"),
    [
        ("threadId=t", Hello("t")),
        (b"threadId=t&agentId=my%20agent&userId=u", Hello("t", "my agent")),
        ("threadId=t&cursor=0", Hello("t", cursor=0)),
        ("threadId=t&cursor=tail", Hello("t", cursor="tail")),
        ("cursor=7&threadId=a.b-c_D9&x=1&x=2", Hello("a.b-c_D9", cursor=7)),
        (
            "threadId=t&cursor=7&requestId=a:b&attempt=3&offset=0",
            Hello("t", cursor=7, request_id="a:b", attempt=3, offset=0),
        ),
        (
            "threadId=t&cursor=7&requestId=timer:the%20report/1&attempt=3&offset=9",  # a follow-up's answer, cut
            Hello("t", cursor=7, request_id="timer:the report/1", attempt=3, offset=9),
        ),
        ("threadId=t&cursor=9007199254740991", Hello("t", cursor=2**53 - 1)),
    ],
)
def test_a_query_is_read(query: str | bytes, hello: Hello) -> None:
    assert parse_query(query) == hello


def test_a_client_that_names_no_cursor_speaks_the_old_protocol() -> None:
    assert parse_query("threadId=t").legacy
    assert not parse_query("threadId=t&cursor=0").legacy
    assert not parse_query("threadId=t&cursor=tail").legacy


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "threadId"),
        ("threadId=", "threadId"),
        ("threadId=a:b", "threadId"),
        ("threadId=%C3%A4", "threadId"),
        ("threadId=" + "t" * 129, "threadId"),
        ("threadId=t&threadId=u", "threadId"),
        ("threadId=t&agentId=", "agentId"),
        ("threadId=t&agentId=%00", "agentId"),
        ("threadId=t&cursor=", "cursor"),
        ("threadId=t&cursor=-1", "cursor"),
        ("threadId=t&cursor=1.0", "cursor"),
        ("threadId=t&cursor=head", "cursor"),
        ("threadId=t&cursor=%D9%A1", "cursor"),
        ("threadId=t&cursor=9007199254740992", "cursor"),
        ("threadId=t&cursor=" + "9" * 5_000, "cursor"),
        ("threadId=t&requestId=r", "attempt"),
        ("threadId=t&requestId=r&attempt=1", "offset"),
        ("threadId=t&attempt=1&offset=1", "requestId"),
        ("threadId=t&requestId=a%00b&attempt=1&offset=1", "requestId"),
        ("threadId=t&requestId=&attempt=1&offset=1", "requestId"),
        ("threadId=t&requestId=r&attempt=x&offset=1", "attempt"),
        ("threadId=t&requestId=r&attempt=1&offset=-1", "offset"),
        ("threadId=%FF", "query"),
        (b"threadId=\xff", "query"),
        ("threadId=t&x=" + "y" * 9_000, "query"),
    ],
)
def test_a_bad_query_names_the_parameter(query: str | bytes, field: str) -> None:
    with pytest.raises(BadQuery) as refused:
        parse_query(query)
    assert refused.value.field == field
    assert str(refused.value).startswith(field)
    assert len(str(refused.value)) <= 123
