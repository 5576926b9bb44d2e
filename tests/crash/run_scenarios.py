"""Conversations of LangGraph's own clients for one kill: runs over REST, over the Agent Streaming Protocol, and over
AG-UI, of which each passes other points. A chat client of the same thread sees all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from tests.ag_ui.conformance import conforms
from tests.crash.callers import PAUSE_S, Caller, Lost, Stream, events_in, said
from tests.crash.point_play import FAILED, FINAL, STOPPED, Ends
from tests.crash.protocol_callers import ProtocolClient
from tests.crash.run_laws import ends_of, stands
from tests.crash.scenarios import shown
from tests.end_to_end.client import PATIENCE_S, Client

SLOW: Final = "words=40 pause=0.02"
LATE: Final = ("final", "question_closed")
"""Of an answer that may have been given twice: nobody heard of the first."""


def calling(agent: str, play: Callable[[Caller], Awaitable[Ends]]) -> Callable[[Client], Awaitable[Ends]]:
    async def played(client: Client) -> Ends:
        async with Caller(client, agent) as caller:
            return await play(caller)

    return played


async def streamed(caller: Caller) -> Ends:
    """Runs of every kind of asking: streamed, waited for, and begun in the background and joined."""
    await caller.ask("POST", "/threads", {"thread_id": caller.client.thread, "if_exists": "do_nothing"})
    marks = [await caller.run("words=4 pause=0.01")]
    marks.append(await caller.start("words=2", by="runs/wait"))
    marks.append(await caller.start("words=8 pause=0.01"))
    run = (await caller.marked(marks[-1]))[-1]["run_id"]
    last, joined = f"{caller.home}/runs/{run}", Stream(run)
    over = False
    while not over:  # it comes again and again with what it has, and for the rest once the run is over
        over = await caller.ended(run)
        with suppress(Lost):
            await caller.follow(joined, "GET", f"{last}/stream", most=None if over else 4)
            continue
        over = False
    result, values = await caller.ask("GET", f"{last}/join"), await caller.values()
    assert result == values or len(await caller.runs()) > len(marks), "the last run's, if none was accepted twice"
    assert (await caller.ask("GET", last))["status"] == "success"
    await caller.ask("DELETE", last, allowed=(409,))
    ends = await ends_of(caller, dict.fromkeys(marks, FINAL))
    caller.streams.append(joined)
    await stands(caller)
    return ends


async def followed(caller: Caller) -> Ends:
    """A thread is followed before anything runs in it, and again after its reader was away; until it has heard
    something, from the thread's beginning."""
    await caller.ask("POST", "/threads", {"thread_id": caller.client.thread, "if_exists": "do_nothing"})
    thread = Stream()
    following = asyncio.create_task(_follow_thread(caller, thread))
    await asyncio.sleep(2 * PAUSE_S)
    marks = [await caller.start("words=3")]
    ends = {**await ends_of(caller, dict.fromkeys(marks, FINAL))}
    await _all_told(thread, ends, following)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    marks.append(await caller.start("words=3"))
    ends |= await ends_of(caller, dict.fromkeys(marks, FINAL))
    following = asyncio.create_task(_follow_thread(caller, thread))
    try:
        await _all_told(thread, ends, following)
        in_chat = await caller.client.say("words=3")
        marks.append(await caller.start("outage fail=3"))
        told = ends | await ends_of(caller, {**dict.fromkeys(marks[:2], FINAL), marks[2]: FAILED})
        known = [*told, *(run["run_id"] for run in await caller.runs() if run["run_id"] not in told)]
        await _all_told(thread, known, following)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert sorted(_done(thread)) == sorted(known), f"told as done: {_done(thread)}"
    return {**told, in_chat: FINAL}


async def _all_told(thread: Stream, runs: Collection[str], following: asyncio.Task[None]) -> None:
    for _ in range(int(PATIENCE_S / PAUSE_S)):
        if {*runs} <= {*_done(thread)}:
            return
        assert not following.done(), following
        await asyncio.sleep(PAUSE_S)
    raise AssertionError(f"of {runs} only {_done(thread)} were told as done; last: {thread.told[-5:]}")


async def _follow_thread(caller: Caller, thread: Stream) -> None:
    while True:
        with suppress(Lost):
            await caller.follow(thread, "GET", f"{caller.home}/stream", since="-1")
        await asyncio.sleep(PAUSE_S)


def _done(thread: Stream) -> list[str]:
    told = [one.data for one in thread.told if one.event == "metadata"]
    return [data["run_id"] for data in told if data.get("status") == "run_done"]


async def resumed(caller: Caller) -> Ends:
    """Two questions, answered by commands; what they came to is read in every way there is."""
    asking = await caller.run("ask=2 words=2")
    await ends_of(caller, {asking: FINAL})
    one, two = await _questions(caller)
    first = await caller.run(command={"resume": {two: "blue"}})
    last = await caller.run(command={"resume": {one: "red"}})
    ends = await ends_of(caller, {asking: FINAL, first: LATE, last: LATE})
    if len(await caller.marked(asking)) == 1:  # a second one closes what the first has asked, whenever it comes
        assert sorted((await caller.values())["notes"]) == ["1: red", "2: blue"]
    await stands(caller)
    await _read(caller)
    return ends


async def _questions(caller: Caller) -> list[str]:
    """Both of them; while what was accepted twice runs again, there are none."""
    while True:
        tasks = (await caller.ask("GET", f"{caller.home}/state"))["tasks"]
        found = [asked["id"] for task in tasks for asked in task["interrupts"]]
        if len(found) == 2:
            return found
        await asyncio.sleep(PAUSE_S)


async def _read(caller: Caller) -> None:
    history = await caller.ask("POST", f"{caller.home}/history", {"limit": 20})
    assert history == await caller.ask("GET", f"{caller.home}/history?limit=20")
    there = history[0]["checkpoint"]["checkpoint_id"]
    at_head = await caller.ask("GET", f"{caller.home}/state/{there}")
    placed = {"checkpoint": {"checkpoint_id": there}}
    assert at_head["values"] == (await caller.ask("POST", f"{caller.home}/state/checkpoint", placed))["values"]
    assert at_head["values"] == history[0]["values"]


async def forked(caller: Caller) -> Ends:
    """A made assistant; and from before the second of two messages the conversation goes on otherwise."""
    preset = {"assistant_id": str(uuid4()), "graph_id": caller.agent, "if_exists": "do_nothing"}
    await caller.ask("POST", "/assistants", preset)
    first = await caller.run("words=2 first", assistant_id=preset["assistant_id"])
    place = await caller.ask("GET", f"{caller.home}/state")
    second = await caller.run("words=2 second")
    forked = await caller.run("words=3 SECOND", checkpoint_id=place["checkpoint"]["checkpoint_id"])
    ends = await ends_of(caller, dict.fromkeys((first, second, forked), FINAL))
    await stands(caller, (first, forked))
    return ends


async def written(caller: Caller) -> Ends:
    """The state is written between two runs, and before the first of them."""
    made = {"thread_id": caller.client.thread, "metadata": {"graph_id": caller.agent}, "if_exists": "do_nothing"}
    await caller.ask("POST", "/threads", made)
    before = await _write(caller)
    first = await caller.run("words=2")
    between = await _write(caller)
    second = await caller.run("words=2")
    ends = await ends_of(caller, dict.fromkeys((first, second), FINAL))
    await stands(caller, written=(before, between))
    return ends


async def _write(caller: Caller) -> str:
    """Whoever does not hear of it writes the same once more; the message's id."""
    message = {"type": "ai", "id": f"written-{uuid4().hex}", "content": "by hand"}
    update = {"values": {"messages": [message]}, "as_node": "answer"}
    answer = await caller.ask("POST", f"{caller.home}/state", update, allowed=(200, 409))  # 409: the first one runs yet
    while answer.get("checkpoint") is None:
        await asyncio.sleep(PAUSE_S)
        answer = await caller.ask("POST", f"{caller.home}/state", update, allowed=(200, 409))
    return message["id"]


async def stopped(caller: Caller) -> Ends:
    """Runs are cancelled by a call, by one that waits for that, and because their reader leaves."""
    stopped = []
    for how, allowed in (("", 202), ("?wait=1", 200)):
        stopped.append(await caller.start(SLOW))
        run = (await caller.marked(stopped[-1]))[-1]["run_id"]
        await shown(caller.client, run, 30)
        await caller.ask("POST", f"{caller.home}/runs/{run}/cancel{how}", allowed=(allowed, 404))  # 404: it has ended
        await ends_of(caller, {stopped[-1]: STOPPED})
    stopped.append(await _left(caller))
    ends = await ends_of(caller, dict.fromkeys(stopped, STOPPED))
    await stands(caller, whole=False)
    return ends


async def _left(caller: Caller) -> str:
    """Where its server dies before it has seen its reader leave, the run goes on to its end."""
    mark = uuid4().hex

    async def leave() -> None:
        body = {"assistant_id": caller.agent, "input": said(SLOW, mark), "metadata": {"mark": mark}}
        async with caller.opened("POST", f"{caller.home}/runs/stream", body | {"on_disconnect": "cancel"}) as response:
            run = response.headers["content-location"].rpartition("/")[2]
            await shown(caller.client, run, 30)

    while True:
        with suppress(Lost):
            await caller.outliving(leave())
        if await caller.marked(mark):
            return mark


async def stateless(caller: Caller) -> Ends:
    """Runs without a thread, each of which has one for as long as it runs."""
    for by in ("runs/stream", "runs/wait"):
        await _without_thread(caller, by, _asked(caller, "words=3"))
    await _without_thread(caller, "runs", _asked(caller, "words=2"))
    await _without_thread(caller, "runs/batch", [_asked(caller, SLOW), _asked(caller, SLOW)])
    await asyncio.sleep(PAUSE_S)
    while (await caller.ask("POST", "/runs/cancel", {"status": "all"}, allowed=(204, 404))) is None:  # noqa: ASYNC110
        await asyncio.sleep(PAUSE_S)
    mark = await caller.start("words=2")
    ids = [run["run_id"] for run in await caller.marked(mark)]
    asked = {"thread_id": caller.client.thread, "run_ids": ids}
    await caller.ask("POST", "/runs/cancel", asked, allowed=(204, 404))
    return await ends_of(caller, {mark: STOPPED})


def _asked(caller: Caller, text: str) -> dict[str, Any]:
    return {"assistant_id": caller.agent, "input": said(text, uuid4().hex)}


async def _without_thread(caller: Caller, by: str, body: Any) -> None:
    """Nobody finds again what nobody was told of, so it is asked once more."""

    async def read() -> None:
        async with caller.opened("POST", f"/{by}", body) as response:
            await response.aread()

    while True:
        with suppress(Lost):
            return await caller.outliving(read())
        await asyncio.sleep(PAUSE_S)


async def failing(caller: Caller) -> Ends:
    """Before the first superstep; after it, which stays; and what is tried again."""
    early = await caller.run("fail=2")
    late = await caller.run("late=2 words=3")
    again = await caller.run("outage fail=3")
    waited = await caller.start("fail=2", by="runs/wait")
    ends = await ends_of(caller, dict.fromkeys((early, late, again, waited), FAILED))
    told = [stream.told[-1].event for stream in caller.streams]
    assert told == ["error"] * 3, told
    return ends


async def by_protocol(caller: Caller) -> Ends:
    """Over a socket: a run in a thread that is not there yet, questions and answers, and what can be asked beside."""
    async with ProtocolClient(caller) as client:
        asking = await client.start("run.start", "ask=2 words=2")
        one, two = client.asked()
        first = await client.respond(interrupt_id=two, response="blue", namespace=[])
        tree = (await client.ask("agent.getTree"))["tree"]
        last = await client.respond(responses=[{"interrupt_id": one, "response": "red", "namespace": []}])
        ends = await ends_of(caller, {asking: FINAL, **{mark: LATE for mark in (first, last) if mark is not None}})
        state = await client.ask("state.get", namespace=[])
        assert state["values"] == await caller.values()
        if len(await caller.marked(asking)) == 1:  # a second one closes what the first has asked, whenever it comes
            assert tree["status"] == "interrupted"
            assert sorted(state["values"]["notes"]) == ["1: red", "2: blue"]
    await stands(caller)
    return ends


async def by_protocol_forked(caller: Caller) -> Ends:
    """One run, another one with the network lost in it, and one that goes on from behind the first."""
    async with ProtocolClient(caller) as client:
        first = await client.start("run.start", "words=2")
        (place, *_) = (await client.ask("state.listCheckpoints", namespace=[], limit=5))["checkpoints"]
        async with ProtocolClient(caller, channels=("lifecycle", "input")) as watch:  # of a thread at rest
            await watch.subscribed()
            await asyncio.sleep(PAUSE_S)
            cutting = asyncio.create_task(_cut_in(client))
            second = await client.start("run.start", SLOW)
            await watch.until(lambda event: event["params"]["data"]["event"] in ("running", "completed"))
        forked = await client.start("state.fork", "words=3", checkpoint_id=place["id"])
        await cutting
        ends = await ends_of(caller, dict.fromkeys((first, second, forked), FINAL))
    await stands(caller, (first, forked))
    return ends


async def _cut_in(client: ProtocolClient) -> None:
    heard = len(client.events)
    await client.until_true(lambda: sum(event["method"] == "messages" for event in client.events[heard:]) > 5)
    client.cut()


async def drained(caller: Caller) -> Ends:
    """Longer than a server that is told to stop waits for its turns: told by a socket, and by a run's stream."""
    async with ProtocolClient(caller) as client:
        first = await client.start("run.start", SLOW)
        second = await caller.run("words=8")
        ends = await ends_of(caller, dict.fromkeys((first, second), FINAL))
    await stands(caller)
    return ends


async def by_protocol_over_http(caller: Caller) -> Ends:
    """Without a socket: commands by themselves, and a stream of server-sent events; one run is cancelled."""
    await caller.ask("POST", "/threads", {"thread_id": caller.client.thread, "if_exists": "do_nothing"})
    async with ProtocolClient(caller, over_http=True) as client:
        first = await client.start("run.start", "words=4")
        cancelling = asyncio.create_task(_cancel(client))
        second = await client.start("run.start", SLOW)
        await cancelling
        ends = await ends_of(caller, {first: FINAL, second: STOPPED})
        early = client.events[1]["seq"]
        async with ProtocolClient(caller, over_http=True, since=early) as late:  # who was away while both ended
            await late.over(list(ends)[-1])
            told = [event["event_id"] for event in late.events]
            assert told[0] not in [event["event_id"] for event in client.events if event["seq"] <= early]
    await stands(caller, whole=False)
    return ends


async def _cancel(client: ProtocolClient) -> None:
    heard = len(client.events)
    await client.until_true(lambda: sum(event["method"] == "messages" for event in client.events[heard:]) > 5)
    while True:
        with suppress(Lost):
            answer = await client.once("run.cancel", {})
            assert answer["type"] == "success" or answer["error"] == "no_such_run", answer  # it has ended
            return
        await asyncio.sleep(PAUSE_S)


async def by_ag_ui(caller: Caller) -> Ends:
    """Two runs, the first of them asked for twice, the second message answered again, and one with nothing
    to run for."""
    mark, following = uuid4().hex, uuid4().hex
    said = [{"id": f"said-{mark}", "role": "user", "content": "words=6 pause=0.01"}]
    told = await _front(caller, mark, said)
    assert (await _front(caller, mark, said))[-1] == told[-1]
    said = [*_conversation(told), {"id": f"said-{following}", "role": "user", "content": "words=2"}]
    first = await _front(caller, following, said)
    told = await _front(caller, uuid4().hex, said)
    before, answered = len(said), [_conversation(answer) for answer in (first, told)]
    assert answered[0][:before] == answered[1][:before]
    assert not {message["id"] for message in answered[0][before:]} & {message["id"] for message in answered[1][before:]}
    at_rest = await _front(caller, uuid4().hex, _conversation(told))
    assert _conversation(at_rest) == _conversation(told)
    ends = await ends_of(caller, {mark: FINAL, following: FINAL})
    await stands(caller, (mark, following))
    shown = [(message["id"], message["content"]) for message in _conversation(told)]
    assert shown == [(message["id"], message["content"]) for message in (await caller.values())["messages"]]
    return ends


async def _front(caller: Caller, run: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a front end is told, asked again under the same id until it hears the end."""
    given = {"threadId": caller.client.thread, "runId": run, "messages": messages, "tools": [], "context": []}
    while True:
        told: list[dict[str, Any]] = []

        async def read() -> None:
            async with caller.opened("POST", f"/agui/{caller.agent}", given) as response:
                told.extend([one.data async for one in events_in(response)])  # noqa: B023

        with suppress(Lost):
            await caller.outliving(read())
            conforms(told)
            return told
        await asyncio.sleep(PAUSE_S)


def _conversation(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    snapshots = [event["messages"] for event in told if event["type"] == "MESSAGES_SNAPSHOT"]
    messages: list[dict[str, Any]] = json.loads(json.dumps(snapshots[-1]))
    return messages
