from __future__ import annotations

from unbroken.entrypoints.client.address import api_url, is_loopback, socket_url
from unbroken.entrypoints.client.backoff import Backoff


def test_pauses_double_up_to_the_cap_and_are_cut_by_at_most_half() -> None:
    backoff = Backoff(first_s=1, cap_s=10)
    for whole in [1, 2, 4, 8, 10, 10, 10]:
        assert whole / 2 <= backoff.after(0) <= whole
    for _ in range(10_000):
        backoff.after(0)


def test_a_good_connection_begins_the_count_again() -> None:
    backoff = Backoff(first_s=1, cap_s=10, calm_s=5)
    for _ in range(5):
        backoff.after(0)
    assert backoff.after(4.9) > 4
    assert backoff.after(5) <= 1


def test_an_expected_success_is_believed_once() -> None:
    backoff = Backoff(first_s=1, cap_s=10)
    assert backoff.after(0, at_once=True) == 0
    assert backoff.after(0, at_once=True) >= 1


def test_addresses_are_taken_as_people_write_them() -> None:
    for base in ("127.0.0.1:8000", "http://127.0.0.1:8000/", "ws://127.0.0.1:8000/api/chat/ws"):
        assert socket_url(base, {"threadId": "t"}) == "ws://127.0.0.1:8000/api/chat/ws?threadId=t"
        assert api_url(base, "/api/threads", {"limit": 3}) == "http://127.0.0.1:8000/api/threads?limit=3"
        assert is_loopback(base)
    assert socket_url("https://chat.example/inner", {}) == "wss://chat.example/inner/api/chat/ws"
    assert not is_loopback("https://chat.example")
