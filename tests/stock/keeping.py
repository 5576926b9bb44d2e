"""What is kept: assistants, threads, their states, and the store, by REST."""

from __future__ import annotations

import uuid
from itertools import pairwise
from typing import Any

from tests.stock.cases import Shown, Stock, case, human, new_thread, refused, talk

NOBODY = "00000000-0000-4000-8000-000000000000"


@case("python/assistants/known", "finds the graphs as assistants")
async def known(stock: Stock) -> Shown:
    client = stock.client()
    (found,) = await client.assistants.search(graph_id="chat", metadata={"created_by": "system"})
    got = await client.assistants.get(found["assistant_id"])
    graph = await client.assistants.get_graph(found["assistant_id"])
    schemas = await client.assistants.get_schemas(found["assistant_id"])
    return {
        "id": got["assistant_id"],
        "name": got["name"],
        "version": got["version"],
        "nodes": [node["id"] for node in graph["nodes"]],
        "schemas": sorted(schemas),
        "properties": sorted((schemas["input_schema"] or {}).get("properties", {})),
        "unknown": await refused(client.assistants.get(NOBODY)),
        "no id": await refused(client.assistants.get("chat")),
    }


@case("python/assistants/made", "makes assistants with a preset of their own, in versions")
async def made(stock: Stock) -> Shown:
    client = stock.client()
    config: Any = {"configurable": {"colour": "blue"}}
    new = await client.assistants.create("configured", config=config, metadata={"m": 1}, name="blue one")
    assistant = new["assistant_id"]
    first: Any = await client.runs.wait(None, assistant, input={})
    config = {"configurable": {"colour": "red"}}
    changed = await client.assistants.update(assistant, metadata={"n": 2}, config=config)
    second: Any = await client.runs.wait(None, assistant, input={})
    versions = await client.assistants.get_versions(assistant)
    again = await refused(client.assistants.create("configured", assistant_id=assistant))
    same = await client.assistants.create("configured", assistant_id=assistant, if_exists="do_nothing")
    back = await client.assistants.set_latest(assistant, 1)
    await client.assistants.delete(assistant)
    return {
        "first": first["seen"]["colour"],
        "second": second["seen"]["colour"],
        "metadata": changed["metadata"],
        "versions": [version["version"] for version in versions],
        "again": again,
        "same": same["assistant_id"] == assistant,
        "back": back["config"],
        "gone": await refused(client.assistants.get(assistant)),
        "unknown graph": await refused(client.assistants.create("nothing")),
    }


@case("python/threads/kept", "makes, finds, changes and deletes threads")
async def kept(stock: Stock) -> Shown:
    client, mark = stock.client(), uuid.uuid4().hex
    one = await client.threads.create(metadata={"mark": mark})
    named = str(uuid.uuid4())
    await client.threads.create(thread_id=named, metadata={"mark": mark})
    same = await client.threads.create(thread_id=named, if_exists="do_nothing")
    changed = await client.threads.update(one["thread_id"], metadata={"x": 1})
    found = await client.threads.search(metadata={"mark": mark}, sort_by="created_at", sort_order="asc")
    page = await client.threads.search(metadata={"mark": mark}, limit=1, offset=1)
    await client.runs.wait(named, "counter", input={"number": 1})
    idle = await client.threads.search(metadata={"mark": mark}, status="idle")
    result = {
        "fields": sorted(set(one) - {"error", "interrupts"}),  # which LangGraph's server adds after the first run
        "status": one["status"],
        "again": await refused(client.threads.create(thread_id=named)),
        "same": same["thread_id"] == named,
        "metadata": {key: value for key, value in changed["metadata"].items() if key != "mark"},
        "found": [thread["thread_id"] for thread in found] == [one["thread_id"], named],
        "page": len(page),
        "count": await client.threads.count(metadata={"mark": mark}),
        "idle": len(idle),
        "graph": (await client.threads.get(named))["metadata"].get("graph_id"),
    }
    await client.threads.delete(named)
    return result | {
        "gone": await refused(client.threads.get(named)),
        "deleted again": await refused(client.threads.delete(named)),
        "no id": await refused(client.threads.get("not-an-id")),
        "bad limit": await refused(client.threads.search(limit=-1)),
    }


@case("python/threads/copied", "copies a thread")
async def copied(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "steps", input={"trail": ["in"]})
    copy: Any = await client.threads.copy(thread)
    return (await client.threads.get_state(copy["thread_id"]))["values"]


@case("python/threads/state", "reads a state, of now and of any checkpoint")
async def state(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    empty = await client.threads.get_state(thread)
    await client.runs.wait(thread, "steps", input={"trail": ["in"]})
    now = await client.threads.get_state(thread)
    history = await client.threads.get_history(thread)
    earlier: Any = history[1]["checkpoint"]
    at = await client.threads.get_state(thread, checkpoint_id=earlier["checkpoint_id"])
    by = await client.threads.get_state(thread, checkpoint=earlier)
    return {
        "empty": {key: empty[key] for key in ("values", "next", "tasks")},
        "now": now["values"],
        "fields": sorted(now),
        "step": (now["metadata"] or {}).get("step"),
        "history": [[one["values"], one["next"]] for one in history],
        "parents": [
            one["parent_checkpoint"] is not None
            and one["parent_checkpoint"]["checkpoint_id"] == before["checkpoint"]["checkpoint_id"]
            for one, before in pairwise(history)
        ],
        "at": [at["values"], at["next"]],
        "by": by["values"] == at["values"],
        "unknown thread": await refused(client.threads.get_state(NOBODY)),
    }


@case("python/threads/before", "pages through a history")
async def before(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "steps", input={"trail": ["in"]})
    history = await client.threads.get_history(thread)
    page = await client.threads.get_history(thread, limit=2, before=history[1]["checkpoint"])
    return [one["values"] for one in page]


@case("python/threads/values", "finds threads by their values")
async def by_values(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    number = uuid.uuid4().int % 10**9
    await client.runs.wait(thread, "counter", input={"number": number})
    found = await client.threads.search(values={"number": 2 * number + 1})
    return [one["thread_id"] for one in found] == [thread]


@case("python/threads/subgraphs", "reads the states of subgraphs that wait")
async def subgraphs(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "inner_ask", input=human("go"))
    found = await client.threads.get_state(thread, subgraphs=True)
    inner: list[Any] = [task.get("state") for task in found["tasks"]]
    return {
        "next": found["next"],
        "inner": [one and [one["next"], talk(one["values"])] for one in inner],
    }


@case("python/threads/update", "changes a state, as a node, and goes on from there")
async def update(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "steps", input={"trail": ["in"]})
    updated: Any = await client.threads.update_state(thread, {"trail": ["manual"]}, as_node="a")
    after = await client.threads.get_state(thread)
    ran = await client.runs.wait(thread, "steps", input=None)
    return {
        "fields": sorted(updated),
        "after": [after["values"], after["next"]],
        "ran": ran,
        "bad node": await refused(client.threads.update_state(thread, {"trail": []}, as_node="nothing")),
    }


@case("python/threads/fork", "forks at a checkpoint, by a run and by an update")
async def fork(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    await client.runs.wait(thread, "steps", input={"trail": ["in"]})
    history = await client.threads.get_history(thread)
    after_a, after_b = (history[place]["checkpoint"]["checkpoint_id"] for place in (2, 1))
    ran = await client.runs.wait(thread, "steps", input=None, checkpoint_id=after_a)
    await client.threads.update_state(thread, {"trail": ["forked"]}, checkpoint_id=after_b)
    forked = await client.threads.get_state(thread)
    finished = await client.runs.wait(thread, "steps", input=None)
    return {"ran": ran, "forked": [forked["values"], forked["next"]], "finished": finished}


@case("python/store/items", "keeps items")
async def items(stock: Stock) -> Shown:
    client, name = stock.client(), uuid.uuid4().hex
    await client.store.put_item([name, "b"], "k", {"v": 1})
    await client.store.put_item([name, "c"], "k2", {"v": 2}, index=False)
    got = await client.store.get_item([name, "b"], "k")
    by_value = await client.store.search_items([name], filter={"v": 1})
    everything = await client.store.search_items([name], limit=10)
    spaces = await client.store.list_namespaces(prefix=[name], max_depth=2)
    await client.store.delete_item([name, "b"], "k")
    left = await client.store.search_items([name])
    return {
        "got": [got["value"], sorted(got)],
        "absent": await client.store.get_item([name, "b"], "nothing"),
        "by value": [item["key"] for item in by_value["items"]],
        "all": sorted(item["key"] for item in everything["items"]),
        "spaces": sorted(space[1] for space in spaces["namespaces"]),
        "left": [item["key"] for item in left["items"]],
        "no namespace": await refused(client.store.put_item([], "k", {"v": 1})),
    }


@case("python/store/shared", "shares the store with the graphs")
async def shared(stock: Stock) -> Shown:
    client = stock.client()
    thread = await new_thread(client)
    ran = await client.runs.wait(thread, "memory", input=human("note this"))
    item = await client.store.get_item(["notes"], "last")
    return {"ran": talk(ran), "item": item and item["value"]}
