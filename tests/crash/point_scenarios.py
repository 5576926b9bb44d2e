"""Short conversations for one kill: each passes other points of a turn, and each ends as it must, whenever the server
dies in it and another one takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from tests.crash import rare_scenarios as rare
from tests.crash import run_scenarios as runs
from tests.crash import wide_scenarios as wide
from tests.crash.point_play import CANCEL, COMMIT, FAILED, FINAL, SLOW, STOPPED, TRIES, Ends, Fall, Scenario
from tests.crash.scenarios import shown
from tests.end_to_end.client import Client


async def answer(client: Client) -> Ends:
    """Two messages, the second one while the first is answered."""
    first = await client.say("words=12 pause=0.01")
    await shown(client, first, 20)
    second = await client.say("words=4 pause=0.01")
    await client.answered(first, second)
    return {first: FINAL, second: FINAL}


async def nodes(client: Client) -> Ends:
    request = await client.say("words=4 pause=0.01")
    await client.answered(request)
    return {request: FINAL}


async def many(client: Client) -> Ends:
    """As many turns as it takes for old checkpoints to go."""
    requests = [await client.say("words=1") for _ in range(9)]
    await client.answered(*requests)
    return dict.fromkeys(requests, FINAL)


async def cancelled(client: Client) -> Ends:
    request = await client.say(SLOW)
    await shown(client, request, 30)
    await client.cancel(request)
    await client.answered(request)
    return {request: STOPPED}


async def cancelled_deaf(client: Client) -> Ends:
    """In the middle of two tool calls, which do not care, while another message waits that is taken back too."""
    request = await client.say("call=1.3 words=4")
    waiting = await client.say("never mind")
    await shown(client, request, 30)
    await client.cancel(waiting)
    await client.cancel(request)
    await client.answered(request, waiting)
    return {request: STOPPED, waiting: STOPPED}


async def questioned(client: Client) -> Ends:
    """Two questions: one gets its answer, the other one is closed by a message."""
    asking = await client.say("ask=2 words=2")
    await client.answered(asking)
    await client.until(lambda c: sum(frame["type"] == "question" for frame in c.view.log) == 2)
    one = next(frame["interruptId"] for frame in client.view.log if frame["type"] == "question")
    reply = await client.respond(one, "red")
    await client.answered(reply)
    return {asking: FINAL, reply: FINAL}


async def concluded(client: Client) -> Ends:
    asking = await client.say("ask=1 words=2")
    await client.answered(asking)
    await client.until(lambda c: any(frame["type"] == "question" for frame in c.view.log))
    one = next(frame["interruptId"] for frame in client.view.log if frame["type"] == "question")
    reply = await client.respond(one, "yes")
    await client.answered(reply)
    return {asking: FINAL, reply: FINAL}


async def outage(client: Client) -> Ends:
    """A failure that may pass, and does not."""
    request = await client.say("outage fail=3")
    await client.answered(request)
    return {request: FAILED}


async def failing(client: Client) -> Ends:
    """Failures that do not pass: before the first superstep is committed, and after it."""
    early = await client.say("fail=2")
    late = await client.say("late=2 words=3")
    await client.answered(early, late)
    return {early: FAILED, late: FAILED}


async def reminded(client: Client) -> Ends:
    request = await client.say("remind=0.3 words=3")
    await client.until(lambda c: len(c.view.log) == 2)
    return {request: FINAL}


async def not_reminded(client: Client) -> Ends:
    """A message comes before the timer is due."""
    first = await client.say("remind=30 words=3")
    await client.answered(first)
    second = await client.say("words=3")
    await client.answered(second)
    return {first: FINAL, second: FINAL}


async def replaced(client: Client) -> Ends:
    one, two = [await client.say(f"words=2 {text}") for text in ("first", "second")]
    await client.answered(one, two)
    edited = await client.say("words=3 SECOND", replaces=two)
    await client.answered(edited)
    return dict.fromkeys((one, two, edited), FINAL)


async def interrupted(client: Client) -> Ends:
    first = await client.say(SLOW)
    await shown(client, first, 30)
    second = await client.say("words=3", whenBusy="interrupt")
    await client.answered(first, second)
    return {first: STOPPED, second: FINAL}


async def rolled_back(client: Client) -> Ends:
    first = await client.say(SLOW)
    await shown(client, first, 30)
    second = await client.say("words=3", whenBusy="rollback")
    await client.answered(first, second)
    return {first: STOPPED, second: FINAL}


async def reconnecting(client: Client) -> Ends:
    """The network is lost twice in the middle of an answer."""
    request = await client.say(SLOW)
    for length in (30, 90):
        await shown(client, request, length)
        client.cut()
        before = client.connected
        await client.until(lambda c: c.connected > before)  # noqa: B023
    await client.answered(request)
    return {request: FINAL}


async def clumsy(client: Client) -> Ends:
    """A client that sends what it may not, the same thing twice, and lets go of its socket between two answers."""
    request = await client.say("words=8 pause=0.01")
    await client.send({"type": "message", "content": 7, "requestId": "bad"})
    await client.say("words=8 pause=0.01", request)
    await client.answered(request)
    await client.cancel(request)
    client.cut()
    again = await client.say("words=2")
    await client.answered(again)
    return {request: FINAL, again: FINAL}


async def idle(client: Client) -> Ends:
    """Longer than every poll, with somebody watching."""
    request = await client.say("words=2")
    await client.answered(request)
    await asyncio.sleep(0.8)
    return {request: FINAL}


async def long(client: Client) -> Ends:
    """Longer than a server that is told to stop waits for its turns."""
    request = await client.say("words=40 pause=0.02")
    await client.answered(request)
    return {request: FINAL}


async def closed(client: Client) -> Ends:
    """An answer to a question that a message closes before it comes to it."""
    asking = await client.say("ask=1 words=2")
    await client.answered(asking)
    await client.until(lambda c: any(frame["type"] == "question" for frame in c.view.log))
    one = next(frame["interruptId"] for frame in client.view.log if frame["type"] == "question")
    between = await client.say("words=20 pause=0.02")
    reply = await client.respond(one, "late")
    await client.until(lambda c: reply in c.view.receipts or reply in c.view.ends or bool(c.view.refusals))
    await client.answered(between)
    if not client.view.refusals:
        await client.answered(reply)
        return {asking: FINAL, between: FINAL, reply: ("question_closed", "final")}
    return {asking: FINAL, between: FINAL}


async def replaced_back(client: Client) -> Ends:
    """What takes another message's place is taken back; so is a failure in such a place that showed nothing."""
    one, two = [await client.say(f"words=2 {text}") for text in ("first", "second")]
    await client.answered(one, two)
    edited = await client.say(SLOW, replaces=two)
    await shown(client, edited, 30)
    last = await client.say("words=3", whenBusy="rollback")
    failed = await client.say("fail=0", replaces=one)
    await client.answered(edited, last, failed)
    return {one: FINAL, two: FINAL, edited: STOPPED, last: FINAL, failed: (*FAILED, "branch_gone")}


async def latecomer(client: Client) -> Ends:
    """Somebody opens the thread who has seen nothing of it."""
    requests = [await client.say("words=2") for _ in range(4)]
    await client.answered(*requests)
    async with Client(client.url, thread=client.thread, cursor=0, stays=True) as late:
        await late.until(lambda c: len(c.view.log) >= len(requests))
        assert late.view.faults == []
    return dict.fromkeys(requests, FINAL)


async def poisoned(client: Client) -> Ends:
    """A message that kills every server that runs it."""
    request = await client.say("die=1")
    await client.answered(request)
    return {request: ("poisoned",)}


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "answer": Scenario("one", answer),
    "nodes": Scenario("three", nodes),
    "turn": Scenario("turn", nodes),
    "many": Scenario("three", many),
    "cancelled": Scenario("endings", cancelled),
    "cancelled-whole": Scenario("whole", cancelled),
    "cancelled-deaf": Scenario("endings", cancelled_deaf),
    "questioned": Scenario("endings", questioned),
    "concluded": Scenario("whole", concluded),
    "outage": Scenario("one", outage),
    "failing": Scenario("endings", failing),
    "failing-whole": Scenario("whole", failing),
    "reminded": Scenario("reminding", reminded),
    "not-reminded": Scenario("reminding", not_reminded),
    "replaced": Scenario("three", replaced, linear=False),
    "interrupted": Scenario("endings", interrupted),
    "rolled-back": Scenario("endings", rolled_back),
    "reconnecting": Scenario("one", reconnecting),
    "clumsy": Scenario("one", clumsy),
    "idle": Scenario("one", idle, by_clock=True),
    "draining": Scenario("endings", cancelled, drains=True),
    "cut-off": Scenario("three", long, drains=True),
    "closed": Scenario("endings", closed),
    "replaced-back": Scenario("endings", replaced_back),
    "latecomer": Scenario("one", latecomer, falls=(Fall(COMMIT, "after", 3),)),
    "poisoned": Scenario("one", poisoned, falls=(Fall(),) * TRIES),
    "attached": Scenario("one", rare.attached, linear=False),
    "deleted": Scenario("one", rare.deleted),
    "by-rest": Scenario("one", rare.by_rest),
    "nested": Scenario("nested", rare.nested),
    "dangling": Scenario("booking", rare.dangling),
    "refused-breakpoint": Scenario("booking", rare.refused_breakpoint),
    "differences": Scenario("delta", rare.differences),
    "fanned": Scenario("fanning", wide.fanned),
    "fanned-whole": Scenario("fanning-whole", wide.fanned),
    "asked-by-parts": Scenario("fanning", wide.asked_by_parts),
    "asked-by-parts-whole": Scenario("fanning-whole", wide.asked_by_parts),
    "asked-and-pushed-aside": Scenario("fanning", wide.asked_and_pushed_aside),
    "replaced-by-parts": Scenario("fanning", wide.replaced_by_parts),
    "stopped-in-its-parts": Scenario("fanning", wide.stopped_in_its_parts),
    "run-streamed": Scenario("three", runs.calling("three", runs.streamed), linear=False),
    "run-followed": Scenario("one", runs.calling("one", runs.followed), linear=False),
    "run-resumed": Scenario("endings", runs.calling("endings", runs.resumed)),
    "run-forked": Scenario("three", runs.calling("three", runs.forked), linear=False),
    "run-written": Scenario("one", runs.calling("one", runs.written), linear=False),
    "run-stopped": Scenario("endings", runs.calling("endings", runs.stopped)),
    "run-stateless": Scenario("one", runs.calling("one", runs.stateless), linear=False),
    "run-failing": Scenario("endings", runs.calling("endings", runs.failing)),
    "run-by-protocol": Scenario("endings", runs.calling("endings", runs.by_protocol)),
    "run-by-protocol-forked": Scenario("three", runs.calling("three", runs.by_protocol_forked), linear=False),
    "run-drained": Scenario("three", runs.calling("three", runs.drained), drains=True, linear=False),
    "run-by-protocol-http": Scenario("endings", runs.calling("endings", runs.by_protocol_over_http)),
    "run-by-ag-ui": Scenario("three", runs.calling("three", runs.by_ag_ui), linear=False),
    "adopted": Scenario("three", nodes, prepare=rare.parked_by_another_saver),
    "adopted-old": Scenario("three", nodes, prepare=rare.in_the_first_format),
    "answer-lost": Scenario("one", nodes, trouble="answer_lost"),
    "answer-lost-within": Scenario("three", nodes, trouble="answer_lost"),
    "not-sent": Scenario("one", nodes, trouble="not_sent"),
    "not-sent-within": Scenario("three", nodes, trouble="not_sent"),
    "out-of-reach": Scenario("one", nodes, trouble="out_of_reach"),
    "resuming": Scenario("three", nodes, falls=(Fall(COMMIT, "after"),)),
    "resuming-turn": Scenario("turn", nodes, falls=(Fall(COMMIT, "before"),)),
    "resuming-cancelled": Scenario("endings", cancelled, falls=(Fall(CANCEL, "after"),)),
    "resuming-cancelled-late": Scenario("endings", cancelled_deaf, falls=(Fall(CANCEL, "after", 2),)),
    "resuming-replaced": Scenario("three", replaced, linear=False, falls=(Fall(COMMIT, "after", 7),)),
    "resuming-fanned": Scenario("fanning", wide.fanned, falls=(Fall(COMMIT, "after"),)),
    "resuming-asked-by-parts": Scenario("fanning", wide.asked_by_parts, falls=(Fall(COMMIT, "after", 3),)),
    "resuming-reminded": Scenario("reminding", reminded, falls=(Fall(COMMIT, "after"),)),
}
