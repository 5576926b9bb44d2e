"""Conversations with an agent that works on many parts at once (tests/graphs/fanning.py): whenever the server dies, no
part is lost, done twice in the state, or taken from another message.

What an agent says begins with all the parts that were done in the thread, in the order of the graph.
"""

from __future__ import annotations

from tests.crash.point_play import FINAL, STOPPED, Ends
from tests.crash.scenarios import shown
from tests.end_to_end.client import Client

WHOLE = (["thought 100", "100"], ["thought 101", "101"], ["thought 100", "100", "thought 101", "101"])
"""What may be left of two parts."""


def done(client: Client, request: str) -> str:
    """The parts that this answer tells of."""
    said = client.view.ends[request]["message"].split("\n\n")
    return next((text.removeprefix("done: ") for text in said if text.startswith("done: ")), "")


async def asked(client: Client, count: int) -> list[str]:
    """Ids of all questions so far."""

    def found(client: Client) -> list[str]:
        return [frame["interruptId"] for frame in client.view.log if frame["type"] == "question"]

    await client.until(lambda c: len(found(c)) >= count)
    return found(client)


async def fanned(client: Client) -> Ends:
    """Parts and graphs of their own side by side, twice."""
    first = await client.say("fan=2 deep=2 pause=0.02 words=2")
    second = await client.say("fan=1 deep=1 words=2")
    await client.answered(first, second)
    before = "100, 101, thought 100, 100, thought 101, 101"
    assert done(client, first) == before
    assert done(client, second) == f"{before}, 200, thought 200, 200"
    return {first: FINAL, second: FINAL}


async def asked_by_parts(client: Client) -> Ends:
    """A part asks, and so does one in a graph of its own, while the others finish; answered in the other order."""
    asking = await client.say("fan=2 deep=2 asks=1 words=2")
    await client.answered(asking)
    part, deep = await asked(client, 2)
    early = await client.respond(deep, "blue")
    await client.answered(early)
    late = await client.respond(part, "red")
    await client.answered(late)
    assert done(client, late) == "100 red, 101, thought 100, 100 blue, thought 101, 101"
    assert await asked(client, 2) == [part, deep]
    return dict.fromkeys((asking, early, late), FINAL)


async def asked_and_pushed_aside(client: Client) -> Ends:
    """One of two questions is answered, and a message comes instead of the other answer: what was done counts, and the
    part that asked is given up."""
    asking = await client.say("deep=3 asks=2 words=2")
    await client.answered(asking)
    one, _ = await asked(client, 2)
    reply = await client.respond(one, "red")
    await client.answered(reply)
    instead = await client.say("fan=1 words=2")
    await client.answered(instead)
    assert done(client, instead) == "thought 100, 100 red, thought 102, 102, 200"
    return dict.fromkeys((asking, reply, instead), FINAL)


async def replaced_by_parts(client: Client) -> Ends:
    """A message takes the place of one whose parts wait for answers, and has parts of its own."""
    first = await client.say("fan=2 words=2")
    await client.answered(first)
    asking = await client.say("fan=2 deep=1 asks=1 words=2")
    await client.answered(asking)
    await asked(client, 2)
    instead = await client.say("deep=2 words=2", replaces=asking)
    await client.answered(instead)
    assert done(client, instead) == "100, 101, thought 200, 200, thought 201, 201"
    return dict.fromkeys((first, asking, instead), FINAL)


async def stopped_in_its_parts(client: Client) -> Ends:
    """Cancelled while parts are at work: those that were done count, once, and none by half. Stopped before a new
    process has shown anything of it, the message itself is not in the state, and the next one is the first."""
    request = await client.say("deep=2 pause=0.3 words=2")
    await shown(client, request, 20)
    await client.cancel(request)
    await client.answered(request)
    following = await client.say("fan=1 words=2")
    await client.answered(following)
    *kept, last = done(client, following).split(", ")
    assert (kept, last) in (([], "100"), *((parts, "200") for parts in ([], *WHOLE))), (kept, last)
    return {request: STOPPED, following: FINAL}
