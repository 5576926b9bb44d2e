"""The Agent Streaming Protocol as `client.threads.stream(...)` speaks it, over SSE and over WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

from langgraph_sdk._async.stream import AsyncThreadStream

from tests.stock.cases import Shown, Stock, case, human, new_key, talk, until

Transport = Literal["sse", "websocket"]
TRANSPORTS: tuple[Transport, ...] = ("sse", "websocket")
ENDS = {"completed", "failed", "interrupted"}
Event = dict[str, Any]


def opened(stock: Stock, graph: str, transport: Transport, thread_id: str | None = None) -> AsyncThreadStream:
    client = stock.client().threads
    stream: AsyncThreadStream = client.stream(thread_id, assistant_id=graph, transport=transport)
    return stream


def both(name: str, title: str, *, kills: bool = False) -> Callable[..., None]:
    """One case for each transport."""

    def register(play: Callable[[Stock, Transport], Awaitable[Shown]]) -> None:
        for transport in TRANSPORTS:

            def bound(stock: Stock, transport: Transport = transport) -> Awaitable[Shown]:
                return play(stock, transport)

            case(f"python/{transport}/{name}", title, kills=kills)(bound)

    return register


def is_end(event: Event) -> bool:
    params = event["params"]
    return event["method"] == "lifecycle" and not params["namespace"] and params["data"]["event"] in ENDS


async def events_of(thread: AsyncThreadStream, until_input: int = 0) -> list[Event]:
    """All events up to the run's end; with `until_input`, up to that many questions and the end."""
    seen: list[Event] = []
    async for event in thread.events:
        if event.get("type") != "event":
            continue
        seen.append(dict(event))
        asked = sum(earlier["method"] == "input.requested" for earlier in seen)
        if any(is_end(earlier) for earlier in seen) and asked >= until_input:
            break
    return seen


def lifecycle(events: list[Event]) -> list[list[str]]:
    """Root and subgraphs by node, in order."""
    return [
        ["/".join(part.split(":")[0] for part in event["params"]["namespace"]), event["params"]["data"]["event"]]
        for event in events
        if event["method"] == "lifecycle"
    ]


def sound(events: list[Event]) -> list[str]:
    """Laws of numbering that hold at every server."""
    numbers, ids = [event["seq"] for event in events], [event["event_id"] for event in events]
    complaints = []
    if numbers != sorted(set(numbers)):
        complaints.append("seq does not grow")
    if len(ids) != len(set(ids)):
        complaints.append("an event_id comes twice")
    return complaints


@both("stream", "streams an answer")
async def stream(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "chat", transport) as thread:
        await thread.run.start(input=human("hello there"))
        messages = [message async for message in thread.messages]
        output = await thread.output
        return {"messages": [await message.text for message in messages], "output": talk(output)}


@both("events", "numbers its events, and tells where a run stands")
async def events(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "chat", transport) as thread:
        await thread.run.start(input=human("hello there"))
        seen = await events_of(thread)
        deltas = [event["params"]["data"] for event in seen if event["method"] == "messages"]
        said = "".join(data["delta"]["text"] for data in deltas if data["event"] == "content-block-delta")
        first, *_, last = [data["event"] for data in deltas]
        return {"lifecycle": lifecycle(seen), "complaints": sound(seen), "said": said, "between": [first, last]}


@both("tools", "calls a tool")
async def tools(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "agent", transport) as thread:
        await thread.run.start(input=human("weather please"))
        calls = [call async for call in thread.tool_calls]
        output = await thread.output
        told = [[call.name, call.input, (await call.output or {}).get("content")] for call in calls]
        return {"calls": told, "output": talk(output)}


@both("tool-fails", "tells of a tool that fails")
async def tool_fails(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "agent", transport) as thread:
        await thread.run.start(input=human("break it"))
        seen = await events_of(thread)
        kinds = [event["params"]["data"]["event"] for event in seen if event["method"] == "tools"]
        output = await thread.output
        return {"tool": kinds, "output": [kind for kind, _ in talk(output)]}


@both("custom", "passes on what a node writes to the stream")
async def custom(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "agent", transport) as thread:
        await thread.run.start(input=human("weather please"))
        seen = await events_of(thread)
        return [event["params"]["data"]["payload"] for event in seen if event["method"] == "custom"]


@both("subgraphs", "tells subgraphs apart")
async def subgraphs(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "nested", transport) as thread:
        await thread.run.start(input=human("go"))
        seen = await events_of(thread)
        texts: dict[str, str] = {}
        for event in seen:
            data = event["params"]["data"]
            if event["method"] == "messages" and data["event"] == "content-block-delta":
                place = "/".join(part.split(":")[0] for part in event["params"]["namespace"])
                texts[place] = texts.get(place, "") + data["delta"]["text"]
        return {"lifecycle": lifecycle(seen), "texts": texts, "complaints": sound(seen)}


@both("blocks", "streams reasoning beside text, after an image was sent")
async def blocks(stock: Stock, transport: Transport) -> Shown:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    async with opened(stock, "thinker", transport) as thread:
        await thread.run.start(input=human([{"type": "text", "text": "look"}, image]))
        seen = await events_of(thread)
        finished = [event["params"]["data"] for event in seen if event["method"] == "messages"]
        whole = [data["content"] for data in finished if data["event"] == "content-block-finish"]
        return [{key: block[key] for key in ("type", "text", "reasoning") if key in block} for block in whole]


@both("values", "shows the states of a graph without messages")
async def values(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "counter", transport) as thread:
        await thread.run.start(input={"number": 3})
        seen = await events_of(thread)
        return {
            "values": [event["params"]["data"] for event in seen if event["method"] == "values"],
            "output": await thread.output,
        }


@both("steps", "shows updates, tasks and checkpoints")
async def steps(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "counter", transport) as thread:
        await thread.run.start(input={"number": 3})
        seen = await events_of(thread)
        return {
            method: sum(event["method"] == method for event in seen) for method in ("updates", "tasks", "checkpoints")
        }


@both("fan-out", "fans out")
async def fan_out(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "fanout", transport) as thread:
        await thread.run.start(input={"items": ["a", "b", "c"]})
        return await thread.output


@both("interrupt", "asks, and goes on with the answer")
async def interrupt(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "ask", transport) as thread:
        await thread.run.start(input=human("go"))
        await until(lambda: thread.interrupted, "a question")
        asked = len(thread.interrupts)
        await thread.run.respond("yes")
        return {"asked": asked, "output": talk(await thread.output)}


@both("question", "shows what is asked")
async def question(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "ask", transport) as thread:
        await thread.run.start(input=human("go"))
        seen = await events_of(thread, until_input=1)
        requested = [event["params"]["data"] for event in seen if event["method"] == "input.requested"]
        await until(lambda: thread.interrupted, "a question")
        return {
            "payload": [data["payload"] for data in requested],
            "value": [one["value"] for one in thread.interrupts],
            "lifecycle": lifecycle(seen),
        }


@both("two-questions", "asks two questions at once, answered one by one")
async def two_questions(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "two_asks", transport) as thread:
        await thread.run.start(input=human("go"))
        await until(lambda: len({one["interrupt_id"] for one in thread.interrupts}) == 2, "two questions")
        first, second = {one["interrupt_id"]: one for one in thread.interrupts}
        client = stock.client()
        await thread.run.respond("one", interrupt_id=first)

        async def left_open() -> list[str]:
            state = await client.threads.get_state(thread.thread_id)
            return [task["name"] for task in state["tasks"] if task["interrupts"]]

        for _ in range(600):
            if len(await left_open()) == 1 and (await client.threads.get(thread.thread_id))["status"] == "interrupted":
                break
            await asyncio.sleep(0.05)
        still = len(await left_open())
        await thread.run.respond("two", interrupt_id=second)
        return {"still open": still, "output": sorted(text for _, text in talk(await thread.output))}


@both("unknown-question", "refuses the answer to a question that nobody asked")
async def unknown_question(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "ask", transport) as thread:
        await thread.run.start(input=human("go"))
        await until(lambda: thread.interrupted, "a question")
        thread.interrupts.append({"interrupt_id": "0" * 32, "value": None, "namespace": []})
        try:
            await thread.run.respond("yes", interrupt_id="0" * 32)
        except RuntimeError as error:
            return str(error).split(":")[0]
        return "accepted"


@both("fails", "tells of a node that raises")
async def fails(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "failing", transport) as thread:
        await thread.run.start(input=human("go"))
        try:
            await thread.output
        except RuntimeError as error:
            return str(error)
        return "no error"


@both("join", "lets a second client join in mid-answer")
async def join(stock: Stock, transport: Transport) -> Shown:
    key = new_key()
    async with opened(stock, "chat", transport) as first:
        await first.run.start(input=human(f"hold {key}"))
        async with opened(stock, "chat", transport, first.thread_id) as second:
            joined, said = Saying(second), Saying(first)
            await asyncio.gather(joined.words(5), said.words(5))
            await stock.release(key)
            return {
                "first": await said.whole(),
                "second": await joined.whole(),
                "output": talk(await second.output)[1:],
            }


@both("second-run", "takes a second message on the same thread")
async def second_run(stock: Stock, transport: Transport) -> Shown:
    async with opened(stock, "chat", transport) as thread:
        await thread.run.start(input=human("one"))
        first = await events_of(thread)
    async with opened(stock, "chat", transport, thread.thread_id) as again:
        await again.run.start(input=human("two"))
        seen: list[Event] = []
        async for event in again.events:
            seen.append(dict(event))
            if sum(is_end(one) for one in seen if one.get("type") == "event") == 2:
                break
        seen = [event for event in seen if event.get("type") == "event"]
    replayed = [event["event_id"] for event in seen]
    return {
        "lifecycle": lifecycle(seen),
        "complaints": sound(seen),
        "replays what was live under the ids it had": all(event["event_id"] in replayed for event in first),
        "output": talk((await stock.client().threads.get_state(thread.thread_id))["values"]),
    }


@both("reconnect", "goes on after the connection was cut in mid-answer")
async def reconnect(stock: Stock, transport: Transport) -> Shown:
    key = new_key()
    async with opened(stock, "chat", transport) as thread:
        await thread.run.start(input=human(f"hold {key}"))
        saying = Saying(thread)
        await saying.words(5)
        await stock.cut()
        await stock.release(key)
        return {"said": await saying.whole(), "output": talk(await thread.output)[1:]}


@both("kill", "survives a kill -9 in mid-answer", kills=True)
async def kill(stock: Stock, transport: Transport) -> Shown:
    key = new_key()
    async with opened(stock, "chat", transport) as thread:
        await thread.run.start(input=human("first"))
        await thread.output
    async with opened(stock, "chat", transport, thread.thread_id) as before:
        await before.run.start(input=human(f"hold {key}"))
        await Saying(before, raw=True).words(5)
        await stock.restart()
    async with opened(stock, "chat", transport, thread.thread_id) as after:
        saying = Saying(after, raw=True)
        await saying.words(5)
        await stock.release(key)
        said = await saying.whole()
    await until_idle(stock, thread.thread_id)
    state = await stock.client().threads.get_state(thread.thread_id)
    return {"said": said, "state": [text.replace(key, "KEY") for _, text in talk(state["values"])]}


@both("fork", "goes on from a checkpoint of long ago")
async def fork(stock: Stock, transport: Transport) -> Shown:
    client = stock.client()
    async with opened(stock, "chat", transport) as thread:
        await thread.run.start(input=human("one"))
        await thread.output
    after_one = (await client.threads.get_state(thread.thread_id))["checkpoint"]["checkpoint_id"]
    async with opened(stock, "chat", transport, thread.thread_id) as second:
        await second.run.start(input=human("two"))
        await until_idle(stock, thread.thread_id)
    async with opened(stock, "chat", transport, thread.thread_id) as third:
        config = {"configurable": {"checkpoint_id": after_one}}
        await third.run.start(input=human("three"), config=config)
        await until_idle(stock, thread.thread_id)
    return talk((await client.threads.get_state(thread.thread_id))["values"])


async def until_idle(stock: Stock, thread_id: str) -> None:
    client = stock.client()
    for _ in range(1200):
        runs = await client.runs.list(thread_id)
        if all(run["status"] not in {"pending", "running"} for run in runs):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("the thread does not come to rest")


class Saying:
    """The newest root message of a thread, as it is said: reads until its message ends.

    `raw`: by `thread.events`, which goes on where earlier runs of the thread end, but does not reconnect. A
    subscription reconnects, and ends there.
    """

    def __init__(self, thread: AsyncThreadStream, *, raw: bool = False) -> None:
        self._text = ""
        self._ended = False
        events = thread.events if raw else thread.subscribe(["messages"], namespaces=[[]], depth=0)
        self._task = asyncio.create_task(self._read(events))

    async def _read(self, events: AsyncIterator[Any]) -> None:
        async for event in events:
            if event.get("method") != "messages" or event["params"]["namespace"]:
                continue
            data = event["params"]["data"]
            if data["event"] == "message-start":
                self._text, self._ended = "", False
            elif data["event"] == "content-block-delta":
                self._text += data["delta"].get("text", "")
            elif data["event"] == "message-finish":
                self._ended = True

    async def words(self, number: int) -> None:
        await until(lambda: f"word{number - 1} " in self._text or self._task.done(), f"{number} words")
        assert f"word{number - 1} " in self._text, f"the stream ended at {self._text!r}"

    async def whole(self) -> str:
        await until(lambda: (self._ended and "word9" in self._text) or self._task.done(), "the whole answer")
        self._task.cancel()
        return self._text
