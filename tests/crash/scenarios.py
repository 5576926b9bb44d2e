"""One thread each, brought to the worst moment of one kind of end: the mark or the message is durable, the end is not.

`Moment.ready` is awaited before the last step, `Moment.reached` behind it: then the process is killed, and what follows
happens in the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.end_to_end.client import Client

LIMIT_S: Final = 6.0
"""The server's time limit of a turn."""
DEAF: Final = "deaf=30"
SLOW: Final = "words=40 pause=0.05"


class Moment:
    """Where all scenarios of a run meet; `kill` comes when everyone has reached it."""

    def __init__(self, parties: int) -> None:
        self._ready = asyncio.Barrier(parties)
        self._reached = asyncio.Barrier(parties + 1)
        self._over = asyncio.Event()

    async def ready(self) -> None:
        await self._ready.wait()

    async def reached(self) -> None:
        """Returns when the next process serves."""
        await self._reached.wait()
        await self._over.wait()

    async def strike(self, kill: Callable[[], Awaitable[None]]) -> None:
        await self._reached.wait()
        await kill()
        self._over.set()


Scenario = Callable[[Client, Moment], Awaitable[list[str]]]
"""Returns how each of its requests ended: the end's type, or its code."""


async def shown(client: Client, request: str, length: int = 40) -> None:
    await client.until(lambda c: len(c.view.shown.get(request, "")) > length)


async def ends(client: Client, *requests: str) -> list[str]:
    found = await client.answered(*requests)
    return [str(end.get("code", end["type"])) for end in found]


async def cancelled(client: Client, moment: Moment) -> list[str]:
    """The cancel is durable, and the agent deaf to it."""
    await asyncio.sleep(LIMIT_S / 2)
    request = await client.say(DEAF)
    await shown(client, request)
    await moment.ready()
    await client.cancel(request)
    await moment.reached()
    return await ends(client, request)


async def cancelled_in_its_tools(client: Client, moment: Moment) -> list[str]:
    """Two tool calls are in the history, and none of their results."""
    await asyncio.sleep(LIMIT_S / 2)
    request = await client.say("call=30")
    await shown(client, request)
    await moment.ready()
    await client.cancel(request)
    await moment.reached()
    return await ends(client, request)


async def cancelled_while_waiting(client: Client, moment: Moment) -> list[str]:
    await asyncio.sleep(LIMIT_S / 2)
    first = await client.say("deaf=5")
    await shown(client, first)
    second = await client.say("never mind")
    await moment.ready()
    await client.cancel(second)
    await moment.reached()
    return await ends(client, first, second)


async def questioned(client: Client, moment: Moment) -> list[str]:
    """Two questions; the answer to one was accepted, and what follows from it is being said."""
    asking = await client.say("ask=2 pause=0.2")
    await client.answered(asking)
    await client.until(lambda c: len(c.view.log) == 3)
    one, two = (frame["interruptId"] for frame in client.view.log[1:])
    await moment.ready()
    first = await client.respond(two, "blue")
    await client.until(lambda c: first in c.view.receipts)
    await moment.reached()
    await client.answered(first)
    last = await client.respond(one, "red")
    found = await ends(client, asking, first, last)
    assert "noted 1: red, 2: blue" in client.view.ends[last]["message"]
    assert [frame["outcome"] for frame in client.view.log if frame["type"] == "answered"] == ["answered"] * 2
    return found


async def concluding(client: Client, moment: Moment) -> list[str]:
    """The last answer is in, and the turn that it set free is in its last node."""
    asking = await client.say("ask=1 pause=0.1")
    await client.answered(asking)
    await client.until(lambda c: len(c.view.log) == 2)
    interrupt = client.view.log[1]["interruptId"]
    await moment.ready()
    answer = await client.respond(interrupt, "yes")
    await shown(client, answer, 10)
    await moment.reached()
    found = await ends(client, asking, answer)
    assert "noted 1: yes" in client.view.ends[answer]["message"]
    return found


async def pushed_aside(client: Client, moment: Moment) -> list[str]:
    """The message that interrupts is durable; what it interrupts has not ended."""
    await asyncio.sleep(LIMIT_S / 2)
    first = await client.say(DEAF)
    await shown(client, first)
    await moment.ready()
    second = await client.say("instead", whenBusy="interrupt")
    await client.until(lambda c: second in c.view.receipts)
    await moment.reached()
    return await ends(client, first, second)


async def rolled_back(client: Client, moment: Moment) -> list[str]:
    await asyncio.sleep(LIMIT_S / 2)
    first = await client.say(DEAF)
    await shown(client, first)
    await moment.ready()
    second = await client.say("instead", whenBusy="rollback")
    await client.until(lambda c: second in c.view.receipts)
    await moment.reached()
    return await ends(client, first, second)


async def failing(client: Client, moment: Moment) -> list[str]:
    """One try has failed, and the pause before the next one runs."""
    await asyncio.sleep(LIMIT_S / 2)
    request = await client.say("outage fail=3")
    await moment.ready()
    await client.until(lambda c: c.view.attempts.get(request, 0) > 0)
    await moment.reached()
    return await ends(client, request)


async def failing_late(client: Client, moment: Moment) -> list[str]:
    """The first node's text is committed, and the last one is on its way to fail."""
    await moment.ready()
    request = await client.say("late=7 pause=0.2")
    await client.until(lambda c: "\n\n" in c.view.shown.get(request, ""))
    await moment.reached()
    return await ends(client, request)


async def out_of_time(client: Client, moment: Moment) -> list[str]:
    """The time is up, and the agent deaf to it."""
    request = await client.say(DEAF)
    await shown(client, request)
    await asyncio.sleep(LIMIT_S - 0.3)
    await moment.ready()
    await asyncio.sleep(0.6)
    await moment.reached()
    return await ends(client, request)


async def blocked(client: Client, moment: Moment) -> list[str]:
    """The time is up, and a thread of the agent's blocks."""
    request = await client.say("block=8")
    await shown(client, request)
    await moment.ready()
    await moment.reached()
    return await ends(client, request)


async def too_long(client: Client, moment: Moment) -> list[str]:
    """An answer on its way to more than a live stream holds."""
    await moment.ready()
    request = await client.say("words=15 wide=100000 pause=0.2")
    await shown(client, request, 200_000)
    await moment.reached()
    return await ends(client, request)


async def replaced(client: Client, moment: Moment) -> list[str]:
    """The first nodes have answered the message that takes another one's place."""
    one, two = [await client.say(text) for text in ("first", "second")]
    await client.answered(one, two)
    await moment.ready()
    edited = await client.say("SECOND pause=0.1", replaces=two)
    await client.until(lambda c: "\n\n" in c.view.shown.get(edited, ""))
    await moment.reached()
    return await ends(client, one, two, edited)


SCENARIOS: Final[Mapping[str, tuple[Scenario, list[str]]]] = {
    "cancelled": (cancelled, ["cancelled"]),
    "cancelled-in-its-tools": (cancelled_in_its_tools, ["cancelled"]),
    "cancelled-while-waiting": (cancelled_while_waiting, ["final", "cancelled"]),
    "questioned": (questioned, ["final", "final", "final"]),
    "concluding": (concluding, ["final", "final"]),
    "pushed-aside": (pushed_aside, ["cancelled", "final"]),
    "rolled-back": (rolled_back, ["cancelled", "final"]),
    "failing": (failing, ["model_failed"]),
    "failing-late": (failing_late, ["model_failed"]),
    "out-of-time": (out_of_time, ["timed_out"]),
    "blocked": (blocked, ["timed_out"]),
    "too-long": (too_long, ["answer_too_long"]),
    "replaced": (replaced, ["final", "final", "final"]),
}
