"""What every carrier of hints and messages keeps, whatever happens to it."""

from __future__ import annotations

import asyncio

import pytest

from tests.bus.carriers import Carrier, eventually
from unbroken.adapters.carried_hints import MOST, CarriedWakeups, Company
from unbroken.domain.ports.peers import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.asyncio


async def test_a_hint_reaches_all_others_and_oneself_and_never_at_once(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    third = await carrier.join()
    await carrier.meet(one, third)
    one.wakeups.hint("thread")
    assert not one.hints
    await eventually(lambda: other.heard_of("thread") and third.heard_of("thread"))
    assert one.hints == ["thread"]
    assert not one.heard_of("thread")
    assert not other.hints


async def test_an_announcement_reaches_the_others_alone(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    one.wakeups.announce("thread")
    await eventually(lambda: other.heard_of("thread"))
    assert not one.hints
    assert not one.heard_of("thread")


async def test_that_a_session_is_free_is_carried(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    one.wakeups.hint("free", free=True)
    one.wakeups.hint("taken")
    await eventually(lambda: other.heard_of("free") and other.heard_of("taken"))
    assert ("free", True) in other.overheard
    assert ("taken", False) in other.overheard
    assert one.hints == ["free", "taken"]


async def test_a_name_of_any_characters_arrives_as_it_is(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    names = ["'; DROP TABLE sessions; --", 'a"b\\c', "naïve 🧵", "\x01\n\t", "x" * 128, "𝄞" * 128]
    for name in names:
        one.wakeups.announce(name)
    await eventually(lambda: all(map(other.heard_of, names)))


async def test_thousands_at_once_all_arrive_once_each_is_told(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    names = {f"thread-{number}" for number in range(3_000)}
    for name in names:
        one.wakeups.announce(name)
    await eventually(lambda: names <= {name for name, _ in other.overheard})


async def test_what_is_told_again_before_it_leaves_leaves_once(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    if not isinstance(one.wakeups, CarriedWakeups):
        return  # the hub delivers each
    await eventually(lambda: not one.wakeups._waiting)  # type: ignore[attr-defined]
    given = one.wakeups.given
    for _ in range(1_000):
        one.wakeups.announce("again")
    one.wakeups.announce("last")
    await eventually(lambda: other.heard_of("last"))
    assert other.overheard.count(("again", False)) == 1
    assert one.wakeups.given == given + 2


async def test_hints_arrive_again_after_each_cut(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    for number in range(3):
        await carrier.cut()
        one.wakeups.hint(f"while cut {number}")
        await carrier.mend()
        await carrier.meet(one, other, f"after cut {number}")
    assert one.hints == [f"while cut {number}" for number in range(3)]


async def test_what_is_given_while_nothing_gets_through_is_bounded_and_raises_nothing(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    await carrier.cut()
    for number in range(MOST + 500):
        one.wakeups.announce(f"thread-{number}")
        one.peers.send(other.replica, b"x" * 10_000)
    if isinstance(one.wakeups, CarriedWakeups):
        assert len(one.wakeups._waiting) <= MOST
        assert one.wakeups.dropped >= 500
    await carrier.mend()
    await carrier.meet(one, other, "afterwards")


async def test_a_message_reaches_its_replica_and_nobody_else(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    third = await carrier.join()
    await carrier.meet(one, third)
    if not carrier.carries_messages:
        assert not one.peers.reachable
        one.peers.send(other.replica, b"to nobody")
        return
    await eventually(lambda: all(side.peers.reachable for side in (one, other, third)))
    one.peers.send(other.replica, b"to the other")
    one.peers.send(99, b"to nobody")
    third.peers.send(one.replica, b"to one")
    assert not other.messages
    await eventually(lambda: bool(other.messages and one.messages))
    one.peers.send(third.replica, b"last")
    await eventually(lambda: bool(third.messages))
    assert (one.messages, other.messages, third.messages) == ([b"to one"], [b"to the other"], [b"last"])


async def test_messages_arrive_whole_up_to_the_limit_and_beyond_it_the_sender_hears(carrier: Carrier) -> None:
    one, other = await carrier.pair()
    with pytest.raises(AssertionError, match=f"{MAX_MESSAGE_BYTES + 1} bytes; the limit is {MAX_MESSAGE_BYTES}"):
        one.peers.send(other.replica, bytes(MAX_MESSAGE_BYTES + 1))
    if carrier.carries_messages:
        await eventually(lambda: one.peers.reachable)
        sent = [bytes([number]) * MAX_MESSAGE_BYTES for number in range(8)]
        for message in sent:
            one.peers.send(other.replica, message)
        await eventually(lambda: len(other.messages) == len(sent))
        assert sorted(other.messages) == sent


async def test_messages_arrive_again_after_a_cut(carrier: Carrier) -> None:
    if not carrier.carries_messages:
        return
    one, other = await carrier.pair()
    await carrier.cut()
    one.peers.send(other.replica, b"lost or not")
    await carrier.mend()

    def arrived() -> bool:
        one.peers.send(other.replica, b"after the cut")
        return b"after the cut" in other.messages

    await eventually(arrived)


async def test_who_is_alone_tells_nobody_but_itself_until_somebody_is_heard(carrier: Carrier) -> None:
    company = Company()
    company.counted(1)
    one = await carrier.join(company=company)
    if not isinstance(one.wakeups, CarriedWakeups):
        return
    one.wakeups.hint("alone")
    await asyncio.sleep(0)
    assert one.hints == ["alone"]
    assert not one.wakeups._waiting
    other = await carrier.join()
    await carrier.meet(one, other)
    assert not company.alone
    company.counted(1)
    assert company.alone
