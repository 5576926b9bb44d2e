"""Whatever comes in, the codec takes it or names what is wrong, and a socket answers by the protocol's word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.application.virtual_time import VirtualTimeLoop
from tests.hostile.attacker import Attacker
from tests.hostile.friend import Friend
from tests.hostile.grammar import FRAMES, SEQUENCES
from tests.hostile.mischief import Known
from tests.hostile.service import Host, hosting
from tests.hostile.sound import outcome_of
from tests.hostile.storm import forgotten, listening
from tests.hostile.tally import Tally
from unbroken.entrypoints.web.codec import Limits

VISITS = st.tuples(st.sampled_from(["bob", "mallory"]), st.sampled_from(["&cursor=0", "&cursor=9", ""]), SEQUENCES)
HEAVY = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=500, deadline=None, suppress_health_check=HEAVY)
@given(FRAMES, st.sampled_from([Limits(), Limits(frame=4_096, content=1_024)]))
def test_the_codec_takes_a_frame_or_names_what_is_wrong_with_it(frame: str | bytes, limits: Limits) -> None:
    outcome_of(frame, limits)


async def visited(host: Host, visits: list[tuple[str, str, list[str | bytes]]]) -> None:
    """Each visitor sends its frames beside two friends, who have said something before and say something after."""
    tally = Tally()
    friends = [Friend(host, tally, name, f"of {name}", alone=name == "ann") for name in ("ann", "bob")]
    async with asyncio.TaskGroup() as group:
        for friend in friends:
            group.create_task(friend.converse())
        for friend in friends:
            await friend.first.wait()
        for user, query, frames in visits:
            await Attacker(host, Known(), tally, "guest").send(user, f"threadId={user}{query}", frames)
        for friend in friends:
            friend.done = True
    await asyncio.sleep(60)
    await forgotten(host)
    assert tally.answers >= 2


def in_virtual_time(work: Callable[[Host], Coroutine[Any, Any, None]]) -> None:
    async def hosted() -> None:
        async with hosting() as host:
            await work(host)

    with listening() as errors, asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: errors.append(str(context)))
        runner.run(hosted())
    assert errors == []


@settings(max_examples=60, deadline=None, suppress_health_check=HEAVY)
@given(st.lists(VISITS, min_size=1, max_size=3))
def test_a_socket_answers_whatever_it_is_sent_and_its_neighbours_do_not_notice(
    visits: list[tuple[str, str, list[str | bytes]]],
) -> None:
    in_virtual_time(lambda host: visited(host, visits))
