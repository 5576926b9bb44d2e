"""Runs that are disturbed, by REST: cancelled, overtaken by others, left by their clients, killed with their server."""

from __future__ import annotations

import contextlib
from typing import Any

from tests.stock.cases import (
    Shown,
    Stock,
    case,
    human,
    new_key,
    new_thread,
    refused,
    status_becomes,
    talk,
    text_of,
)
from tests.stock.running import ENDED, said


async def answering(stock: Stock, thread: str, key: str) -> str:
    """A run that is held in mid-answer, and of which a client that left has seen five words; its id."""
    created: list[Any] = []
    modes: Any = ["values", "messages-tuple"]
    parts = stock.client().runs.stream(
        thread, "chat", input=human(f"hold {key}"), stream_mode=modes, on_run_created=created.append
    )
    async for part in parts:
        if part.event == "messages" and "word4" in text_of(part.data[0]):
            break
    (run,) = created
    run_id: str = run["run_id"]
    return run_id


async def cancelled(stock: Stock, action: Any) -> Shown:
    client, key = stock.client(), new_key()
    thread = await new_thread(client)
    await client.runs.wait(thread, "chat", input=human("first"))
    run_id = await answering(stock, thread, key)
    await client.runs.cancel(thread, run_id, wait=True, action=action)
    try:
        status: str = (await client.runs.get(thread, run_id))["status"]
    except Exception as error:  # noqa: BLE001
        status = type(error).__name__
    again = await refused(client.runs.cancel(thread, run_id))
    await stock.release(key)
    state = await client.threads.get_state(thread)
    after = await client.runs.wait(thread, "chat", input=human("after"))
    return {
        "status": status,
        "again": again,
        "thread": (await client.threads.get(thread))["status"],
        "state": [text.replace(key, "KEY") for _, text in talk(state["values"])],
        "after": [text.replace(key, "KEY") for _, text in talk(after)][-2:],
    }


@case("python/runs/cancel", "cancels a run")
async def cancel(stock: Stock) -> Shown:
    return await cancelled(stock, "interrupt")


@case("python/runs/rollback", "cancels a run and takes back what it did")
async def rollback(stock: Stock) -> Shown:
    return await cancelled(stock, "rollback")


@case("python/runs/gone", "cancels a run when its client goes away, if asked to")
async def gone(stock: Stock) -> Shown:
    client, key = stock.client(), new_key()
    thread = await new_thread(client)

    async def until_words(leaver: Any) -> None:
        parts = leaver.runs.stream(
            thread, "chat", input=human(f"hold {key}"), stream_mode="messages-tuple", on_disconnect="cancel"
        )
        async for part in parts:
            if part.event == "messages" and "word4" in text_of(part.data[0]):
                break
        with contextlib.suppress(RuntimeError):
            await parts.aclose()

    leaver = stock.client()
    await until_words(leaver)
    await leaver.aclose()
    (run,) = await client.runs.list(thread)
    status = await status_becomes(client, thread, run["run_id"], *ENDED)
    await stock.release(key)
    return status


async def doubled(stock: Stock, strategy: Any) -> Shown:
    client, key = stock.client(), new_key()
    thread = await new_thread(client)
    first = await answering(stock, thread, key)
    second: Any = None
    refusal = None
    try:
        second = await client.runs.create(thread, "chat", input=human("second"), multitask_strategy=strategy)
    except Exception as error:  # noqa: BLE001
        refusal = type(error).__name__
    if strategy in {"enqueue", "reject"}:
        await stock.release(key)
    await client.runs.join(thread, second["run_id"] if second else first)
    await stock.release(key)
    runs = await client.runs.list(thread)
    state = await client.threads.get_state(thread)
    return {
        "refusal": refusal,
        "runs": sorted(run["status"] for run in runs),
        "state": [text.replace(key, "KEY") for _, text in talk(state["values"])],
    }


@case("python/runs/reject", "refuses a second run while one runs: multitask_strategy reject")
async def reject(stock: Stock) -> Shown:
    return await doubled(stock, "reject")


@case("python/runs/enqueue", "queues a second run: multitask_strategy enqueue")
async def enqueue(stock: Stock) -> Shown:
    return await doubled(stock, "enqueue")


@case("python/runs/interrupting", "stops the first run for a second: multitask_strategy interrupt")
async def interrupting(stock: Stock) -> Shown:
    return await doubled(stock, "interrupt")


@case("python/runs/rolling-back", "takes back the first run for a second: multitask_strategy rollback")
async def rolling_back(stock: Stock) -> Shown:
    return await doubled(stock, "rollback")


async def resumed(stock: Stock, disturb: Any) -> Shown:
    client, key = stock.client(), new_key()
    thread = await new_thread(client)
    parts: list[Any] = []
    modes: Any = ["messages-tuple", "values"]
    stream = client.runs.stream(
        thread, "chat", input=human(f"hold {key}"), stream_mode=modes, stream_resumable=True, on_disconnect="continue"
    )
    async for part in stream:
        parts.append(part)
        if part.event == "messages" and "word4" in text_of(part.data[0]):
            break
    ids = [part.id for part in parts]
    await disturb()
    await stock.release(key)
    parts += [part async for part in stream]
    final = talk((await client.threads.get_state(thread))["values"])
    last_values = [part.data for part in parts if part.event == "values"][-1]
    return {
        "with ids": all(ids),
        "last values": talk(last_values)[1:],
        "state": final[1:],
        "said": said([part for part in parts if part.event == "messages"]),
    }


@case("python/runs/reconnect", "goes on with Last-Event-ID after the connection was cut in mid-answer")
async def reconnect(stock: Stock) -> Shown:
    return await resumed(stock, stock.cut)


@case("python/runs/kill", "survives a kill -9 in mid-answer, in one and the same stream", kills=True)
async def kill(stock: Stock) -> Shown:
    result = await resumed(stock, stock.restart)
    return {key: result[key] for key in ("last values", "state")}
