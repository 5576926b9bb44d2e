"""A server's whole output while people talk, agents fail and clients misbehave: no word of theirs is in it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import GRAPHS, Server
from unbroken.entrypoints.client.rest import Rest, RestError

SAID = "marmalade"
"""In every message, answer, question and exception of the conversation."""
TOKEN = "tell-nobody-this-token"


async def converse(server: Server, directory: Path) -> None:
    async with Client(server.url, thread="rich", agent="telltale") as client:
        await client.answered(await client.say(f"{SAID} hello"))
        (failed,) = await client.answered(await client.say(f"{SAID} fail"))
        assert failed["type"] == "error"
        await client.answered(await client.say(f"{SAID} ask"))
        await client.until(lambda c: c.view.log[-1]["type"] == "question")
        await client.answered(await client.respond(client.view.log[-1]["interruptId"], f"{SAID} yes"))
        request = await client.say(f"{SAID} wait")
        await client.until(lambda c: request in c.view.attempts)
        await client.cancel(request)
        (cancelled,) = await client.answered(request)
        assert cancelled["type"] == "cancelled"
        await client.send({"type": "message", "requestId": request, "content": f"{SAID} other"})
        await client.send({"type": SAID, "requestId": SAID})
        await client.send_raw(f'{{"{SAID}": ')
        await client.until(lambda c: len(c.view.refusals) >= 3)
        rest, file = Rest(server.url), directory / f"{SAID}.txt"
        await asyncio.to_thread(file.write_text, SAID)
        block = await rest.attach("rich", file)
        await client.answered(await client.say([{"type": "text", "text": f"{SAID} file"}, block]))
        await rest.rename("rich", SAID)
        assert len(await rest.threads(SAID)) == 1
        with pytest.raises(RestError):
            await rest.ask("POST", f"/api/threads/{SAID}/files", {"name": SAID}, data=SAID.encode())
    async with Client(f"{server.url}", thread="rich", agent=f"{TOKEN}-agent") as stranger:
        assert (await stranger.ended())[0] == 4404


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.said().splitlines() if line.startswith("{")]


@pytest.mark.asyncio
@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_no_word_of_a_conversation_reaches_the_log(folder: Path, database_url: str, log_format: str) -> None:
    arguments = ["--agent", f"telltale={GRAPHS / 'telltale.py'}:graph"]
    settings = {"UNBROKEN_LOG_FORMAT": log_format, "PYTHONWARNINGS": "always"}
    with Server(folder, database_url=database_url, arguments=arguments, environment=settings) as server:
        await converse(server, folder)
        assert await asyncio.to_thread(server.stop) == 0
    said = server.said()
    password = database_url.split(":")[2].partition("@")[0]
    for secret in (SAID, TOKEN, password):
        assert secret not in said
    for told in (
        "turn failed: model_failed",
        "ValueError",
        "telltale.py",
        "Task exception was never retrieved",
        "UserWarning at",
        "an exception had nowhere to go",
        "a line of an.agent at",
        "has something to say",
    ):
        assert told in said, "it is said what failed, and where"
    if log_format == "json":
        plain = [
            line for line in said.splitlines() if not line.startswith(("{", "page ", "socket ", "a line of an.agent "))
        ]
        assert plain == [], "one object a line"
        of_turns = [line for line in lines(server) if line["event"].startswith(("event finished", "turn "))]
        assert {"session", "event_id", "request", "seq", "attempt"} <= set.intersection(*map(set, of_turns))
        of_nodes = [line for line in lines(server) if line["event"].startswith("UserWarning")]
        assert {line["session"] for line in of_nodes} == {"local:telltale:rich"}, "what runs in a turn is traced to it"
        (closed,) = [line for line in lines(server) if line["event"] == "connection closed with 4404"]
        assert closed["connection"]


@pytest.mark.asyncio
async def test_at_debug_an_operator_may_read_what_an_exception_said(folder: Path) -> None:
    arguments = ["--in-memory", "--agent", f"telltale={GRAPHS / 'telltale.py'}:graph"]
    with Server(folder, arguments=arguments, environment={"UNBROKEN_LOG_LEVEL": "debug"}) as server:
        async with Client(server.url, thread="t", agent="telltale") as client:
            await client.answered(await client.say(f"{SAID} fail"))
    assert f"the provider refused '{SAID} fail'" in server.said()
