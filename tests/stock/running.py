"""Runs by REST: `client.runs` of Python."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from tests.stock.cases import (
    Shown,
    Stock,
    case,
    drained,
    human,
    new_key,
    new_thread,
    refused,
    status_becomes,
    talk,
    text_of,
    until,
)

ENDED = ("success", "error", "interrupted", "timeout")


def shape(part: Any) -> Any:
    """A part of a classic stream, without what no two runs share."""
    if part.event == "metadata":
        return ["metadata", sorted(part.data)]
    if part.event in {"values", "custom", "error"}:
        return [part.event, talk(part.data) if "messages" in part.data else part.data]
    return [part.event, sorted(part.data) if isinstance(part.data, dict) else type(part.data).__name__]


def said(parts: list[Any]) -> str:
    """The answer that `messages-tuple` streamed."""
    chunks = [part.data[0] for part in parts if part.event == "messages"]
    return "".join(text_of(chunk) for chunk in chunks if chunk["type"] == "AIMessageChunk")


async def streamed(stock: Stock, graph: str, value: Any, **how: Any) -> list[Any]:
    client = stock.client()
    return await drained(client.runs.stream(await new_thread(client), graph, input=value, **how))


@case("python/runs/values", "streams values")
async def values(stock: Stock) -> Shown:
    parts = await streamed(stock, "agent", human("weather please"), stream_mode="values")
    return [shape(part) for part in parts]


@case("python/runs/updates", "streams updates")
async def updates(stock: Stock) -> Shown:
    parts = await streamed(stock, "agent", human("weather please"), stream_mode="updates")
    return [shape(part) for part in parts]


@case("python/runs/messages-tuple", "streams messages in chunks")
async def messages_tuple(stock: Stock) -> Shown:
    parts = await streamed(stock, "agent", human("weather please"), stream_mode="messages-tuple")
    messages = [part.data for part in parts if part.event == "messages"]
    tools = [chunk for chunk, _ in messages if chunk["type"] == "tool"]
    calls = [call for chunk, _ in messages for call in chunk.get("tool_call_chunks") or []]
    return {
        "said": said(parts),
        "arguments": "".join(call["args"] for call in calls),
        "tools": [tool["content"] for tool in tools],
        "node": sorted({metadata["langgraph_node"] for _, metadata in messages}),
    }


@case("python/runs/messages", "streams messages as they grow")
async def messages(stock: Stock) -> Shown:
    parts = await streamed(stock, "chat", human("hello there"), stream_mode="messages")
    kinds = [part.event for part in parts]
    partial = [text_of(part.data[0]) for part in parts if part.event == "messages/partial"]
    grows = all(later.startswith(earlier) for earlier, later in pairwise(partial))
    return {"kinds": sorted(set(kinds)), "grows": grows, "last": partial[-1] if partial else None}


@case("python/runs/custom", "streams what a node writes to the stream")
async def custom(stock: Stock) -> Shown:
    parts = await streamed(stock, "agent", human("weather please"), stream_mode="custom")
    return [shape(part) for part in parts]


@case("python/runs/tasks", "streams tasks")
async def tasks(stock: Stock) -> Shown:
    parts = await streamed(stock, "counter", {"number": 3}, stream_mode="tasks")
    return [[part.data["name"], "result" in part.data] for part in parts if part.event == "tasks"]


@case("python/runs/checkpoints", "streams checkpoints")
async def checkpoints(stock: Stock) -> Shown:
    parts = await streamed(stock, "counter", {"number": 3}, stream_mode="checkpoints")
    return [[part.data["values"], part.data["next"]] for part in parts if part.event == "checkpoints"]


@case("python/runs/debug", "streams debug")
async def debug(stock: Stock) -> Shown:
    parts = await streamed(stock, "counter", {"number": 3}, stream_mode="debug")
    return [[part.data["type"], part.data["step"]] for part in parts if part.event == "debug"]


@case("python/runs/several", "streams several modes at once")
async def several(stock: Stock) -> Shown:
    modes: Any = ["values", "updates", "custom"]
    return [shape(part) for part in await streamed(stock, "agent", human("weather please"), stream_mode=modes)]


@case("python/runs/subgraphs", "streams subgraphs under their own names")
async def subgraphs(stock: Stock) -> Shown:
    modes: Any = ["values", "updates", "custom"]
    parts = await streamed(stock, "nested", human("go"), stream_mode=modes, stream_subgraphs=True)
    return ["|".join(piece.split(":")[0] for piece in part.event.split("|")) for part in parts]


@case("python/runs/fails", "tells of a node that raises")
async def fails(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    parts = await drained(client.runs.stream(thread, "failing", input=human("go"), stream_mode="values"))
    waited = await client.runs.wait(thread, "failing", input=human("go"), raise_error=False)
    found = await client.threads.get(thread)
    runs = await client.runs.list(thread)
    return {
        "parts": [shape(part) for part in parts],
        "wait": waited,
        "thread": found["status"],
        "runs": [run["status"] for run in runs],
    }


@case("python/runs/interrupt", "asks, and goes on with a command")
async def interrupt(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    modes: Any = ["values", "updates"]
    asked = await drained(client.runs.stream(thread, "ask", input=human("go"), stream_mode=modes))
    questions = [question["value"] for part in asked for question in part.data.get("__interrupt__", [])]
    parked = await client.threads.get(thread)
    runs = await client.runs.list(thread)
    resumed = await client.runs.wait(thread, "ask", command={"resume": "yes"})
    return {
        "questions": questions,
        "thread": parked["status"],
        "run": runs[0]["status"],
        "after": (await client.threads.get(thread))["status"],
        "output": talk(resumed),
    }


@case("python/runs/two-interrupts", "asks two questions at once, answered by their ids")
async def two_interrupts(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "two_asks", input=human("go"))
    state = await client.threads.get_state(thread)
    ids = [interrupt["id"] for task in state["tasks"] for interrupt in task["interrupts"]]
    careless = await refused(client.runs.wait(thread, "two_asks", command={"resume": "x"}))
    await client.runs.wait(thread, "two_asks", command={"resume": {ids[0]: "one"}})
    between = (await client.threads.get_state(thread))["next"]
    last = await client.runs.wait(thread, "two_asks", command={"resume": {ids[1]: "two"}})
    return {
        "careless": careless.split(":")[0],
        "between": len(between),
        "output": sorted(text for _, text in talk(last)),
    }


@case("python/runs/question-anywhere", "answers by one protocol what was asked by the other")
async def question_anywhere(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "ask", input=human("go"))
    async with stock.client().threads.stream(thread, assistant_id="ask", transport="sse") as other:
        await until(lambda: other.interrupted, "the question")
        await other.run.respond("by another client")
        for _ in range(600):
            if (await client.threads.get(thread))["status"] == "idle":
                break
            await asyncio.sleep(0.05)
    return talk((await client.threads.get_state(thread))["values"])


@case("python/runs/breakpoints", "stops before and after nodes, and goes on with nothing")
async def breakpoints(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    before = await client.runs.wait(thread, "steps", input={"trail": ["in"]}, interrupt_before=["b"])
    parked = (await client.threads.get(thread))["status"]
    after = await client.runs.wait(thread, "steps", input=None)
    every = await client.runs.wait(thread, "steps", input={"trail": ["again"]}, interrupt_after="*")
    return {"before": before, "thread": parked, "after": after, "every": every}


@case("python/runs/command", "updates the state and goes to a node by command")
async def command(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "steps", input={"trail": ["in"]})
    return await client.runs.wait(thread, "steps", command={"update": {"trail": ["u"]}, "goto": "c"})


@case("python/runs/configured", "runs with config, context and metadata")
async def configured(stock: Stock) -> Shown:
    client = stock.client()
    config: Any = {"tags": ["one"], "recursion_limit": 7, "configurable": {"colour": "green"}}
    by_config = await client.runs.wait(None, "configured", input={}, config=config, metadata={"mark": "m"})
    by_context = await client.runs.wait(None, "configured", input={}, context={"tone": "kind"})
    return {"config": by_config, "context": by_context["seen"]["context"]}


@case("python/runs/join", "joins a run that somebody else has started")
async def join(stock: Stock) -> Shown:
    client, key = stock.client(), new_key()
    thread = await new_thread(client)
    modes: Any = ["values", "messages-tuple"]
    run = await client.runs.create(thread, "chat", input=human(f"hold {key}"), stream_mode=modes)
    await status_becomes(client, thread, run["run_id"], "running")
    busy = (await client.threads.get(thread))["status"]
    joined = asyncio.create_task(stock.client().runs.join(thread, run["run_id"]))
    streaming = asyncio.create_task(drained(stock.client().runs.join_stream(thread, run["run_id"])))
    await asyncio.sleep(0.2)
    await stock.release(key)
    parts = await streaming
    return {
        "busy": busy,
        "joined": talk(await joined)[1:],
        "streamed": bool(parts) and parts[-1].event,
        "status": await status_becomes(client, thread, run["run_id"], *ENDED),
        "again": talk(await client.runs.join(thread, run["run_id"]))[1:],
    }


@case("python/runs/stateless", "runs without a thread")
async def stateless(stock: Stock) -> Shown:
    client = stock.client()
    waited = await client.runs.wait(None, "counter", input={"number": 2})
    parts = await drained(client.runs.stream(None, "counter", input={"number": 2}))
    payloads: Any = [{"assistant_id": "counter", "input": {"number": number}} for number in (1, 5)]
    batch = await client.runs.create_batch(payloads)
    return {"wait": waited, "stream": [shape(part) for part in parts], "batch": len(batch)}


@case("python/runs/refusals", "refuses what does not exist or is no run")
async def refusals(stock: Stock) -> Shown:
    client = stock.client()
    thread, nobody = await new_thread(client), "00000000-0000-4000-8000-000000000000"
    made = await client.runs.wait(nobody[:-4] + new_key()[:4], "counter", input={"number": 1}, if_not_exists="create")
    return {
        "unknown assistant": await refused(client.runs.create(thread, "nothing", input={})),
        "unknown thread": await refused(client.runs.create(nobody, "counter", input={"number": 1})),
        "unknown thread, to be made": made,
        "unknown run": await refused(client.runs.get(thread, nobody)),
        "bad mode": await refused(client.runs.create(thread, "counter", input={}, stream_mode="nonsense")),
        "bad strategy": await refused(client.runs.create(thread, "counter", input={}, multitask_strategy="nonsense")),
        "no input": (await refused(client.runs.wait(None, "chat"))).split(":")[0],
    }
