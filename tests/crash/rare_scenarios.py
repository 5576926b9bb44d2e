"""Conversations that pass what few do: files, deletions, other savers' threads, calls without results, differences."""

from __future__ import annotations

import asyncio
import http.client
import json
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from tests.crash.point_play import FINAL, SLOW, STOPPED, Ends
from tests.crash.scenarios import shown
from tests.end_to_end.client import PATIENCE_S, Client
from tests.graphs.three_nodes import graph as three_nodes

PAUSE_S: Final = 0.05


async def asked(client: Client, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """The status and the answer; asked again until there is one."""
    address = urlsplit(client.url).netloc
    kind = {"Content-Type": "application/json" if body and body[:1] == b"{" else "text/plain"}

    def once() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        try:
            connection.request(method, f"{path}?userId=local", body, kind)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    while True:
        with suppress(OSError, http.client.HTTPException):
            status, answer = await asyncio.to_thread(once)
            if status < 500:
                return status, answer
        await asyncio.sleep(PAUSE_S)


async def attached(client: Client) -> Ends:
    """A file is attached to a thread that has begun, and a later message refers to it, too."""
    first = await client.say("words=2")
    await client.answered(first)
    status, answer = await asked(client, "POST", f"/api/threads/{client.thread}/files", b"some notes")
    assert status == 201, answer
    file = {"type": "file", "file_id": json.loads(answer)["fileId"]}
    with_file = await client.say([{"type": "text", "text": "words=3 read this"}, file])
    await client.answered(with_file)
    later = await client.say("words=2")
    await client.answered(later)
    return {first: FINAL, with_file: FINAL, later: FINAL}


async def deleted(client: Client) -> Ends:
    """Another thread of the same server is deleted in the middle of a turn of its own."""
    request = await client.say(SLOW)
    async with Client(client.url, thread=f"{client.thread}.gone", agent="three", stays=True) as gone:
        await shown(gone, await gone.say(SLOW), 20)
        status, answer = await asked(client, "DELETE", f"/api/threads/{gone.thread}")
        assert status in {204, 404, 410}, answer  # gone already: the server died before it could say so
        listed = await asked(client, "GET", f"/api/threads/{gone.thread}")
        assert listed[0] in {404, 410}, listed
    await client.answered(request)
    return {request: FINAL}


async def by_rest(client: Client) -> Ends:
    """Beside the conversation a thread is made, named, listed, read and given a file."""
    request = await client.say(SLOW)
    other = f"/api/threads/{client.thread}.made"
    made = json.dumps({"threadId": f"{client.thread}.made", "agentId": "one"}).encode()
    assert (await asked(client, "POST", "/api/threads", made))[0] in {201, 409}  # 409: made, and nobody was told
    status, answer = await asked(client, "PATCH", other, b'{"title": "named"}')
    assert (status, json.loads(answer)["title"]) == (200, "named")
    assert (await asked(client, "PATCH", other, b"{}"))[0] == 200
    status, answer = await asked(client, "POST", f"{other}/files", b"some notes")
    assert status == 201, answer
    status, answer = await asked(client, "GET", f"{other}/files/{json.loads(answer)['fileId']}")
    assert (status, answer) == (200, b"some notes")
    await client.answered(request)
    for path in ("/api/threads", f"/api/threads/{client.thread}/messages"):
        status, answer = await asked(client, "GET", path)
        assert status == 200, answer
    return {request: FINAL}


async def nested(client: Client) -> Ends:
    """One answer, and one that is stopped, of a graph within a graph."""
    first = await client.say("words=3")
    await client.answered(first)
    second = await client.say("words=100 pause=0.05")
    await shown(client, second, 5)
    await client.cancel(second)
    await client.answered(second)
    return {first: FINAL, second: STOPPED}


async def dangling(client: Client) -> Ends:
    """An agent that leaves a call without its result, and is spoken to again."""
    requests = []
    for text in ("dangle", "words=3", "dangle", "words=2"):
        requests.append(await client.say(text))
        await client.answered(requests[-1])
    return dict.fromkeys(requests, FINAL)


async def refused_breakpoint(client: Client) -> Ends:
    asking = await client.say("book it")
    await client.answered(asking)
    await client.until(lambda c: any(frame["type"] == "question" for frame in c.view.log))
    one = next(frame["interruptId"] for frame in client.view.log if frame["type"] == "question")
    reply = await client.respond(one, value=False)
    await client.answered(reply)
    return {asking: FINAL, reply: FINAL}


async def differences(client: Client) -> Ends:
    """More turns than lie between two whole states."""
    requests = []
    for _ in range(4):
        requests.append(await client.say("words=2"))
        await client.answered(requests[-1])
    return dict.fromkeys(requests, FINAL)


async def parked_by_another_saver(database_url: str, thread: str) -> None:
    """A run that was broken off before its last node, as LangGraph's own saver keeps it."""
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        parked = three_nodes.copy(update={"checkpointer": saver, "interrupt_before_nodes": ["write"]})
        given: Any = {"messages": [HumanMessage("words=2 before", id=f"{thread}-before")]}
        await parked.ainvoke(given, {"configurable": {"thread_id": thread}})


async def in_the_first_format(database_url: str, thread: str) -> None:
    """The same, as if an early version of LangGraph had written it."""
    await parked_by_another_saver(database_url, thread)
    sql = await asyncpg.connect(database_url)
    try:
        changed = "UPDATE checkpoints SET checkpoint = checkpoint || '{\"v\": 3}' WHERE thread_id = $1"
        await sql.execute(changed, thread)
    finally:
        await sql.close()
