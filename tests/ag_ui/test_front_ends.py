"""AG-UI over real sockets: whole runs, interrupts, other people's threads, and a server killed in mid-answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.ag_ui.conformance import conforms
from tests.end_to_end.server import Server
from unbroken.application.live_sessions import TAIL
from unbroken.application.subscribe import PAGE

Told = list[dict[str, Any]]


def body(text: str, thread: str, run: str = "", **more: Any) -> dict[str, Any]:
    said = [{"id": str(uuid4()), "role": "user", "content": text}] if text else []
    return {"threadId": thread, "runId": run or str(uuid4()), "messages": said, "tools": [], "context": []} | more


async def run(server: Server, agent: str, given: dict[str, Any], *, until: str = "", user: str = "") -> Told:
    """Its events; those up to the first one whose type is `until`, if that is given."""
    told: Told = []
    url = f"http://127.0.0.1:{server.port}/agui/{agent}"
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", url, json=given, params={"userId": user} if user else {}) as response,
    ):
        if response.status_code != 200:
            return [{"status": response.status_code, **json.loads(await response.aread())}]
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
                if told[-1]["type"] == until:
                    return told
    return told


def spoken(told: Told) -> str:
    """By the root graph."""
    said = [event for event in told if event["type"] == "TEXT_MESSAGE_CONTENT" and "subagentRunId" not in event]
    return "".join(event["delta"] for event in said)


def conversation(told: Told) -> list[tuple[str, str]]:
    (snapshot,) = [event for event in told if event["type"] == "MESSAGES_SNAPSHOT"][-1:]
    return [(message["role"], message["content"]) for message in snapshot["messages"]]


@pytest.mark.asyncio
async def test_everything_that_a_run_shows_arrives_and_conforms(memory_server: Server) -> None:
    told = await run(memory_server, "ranging", body("watch", str(uuid4())))
    conforms(told)
    kinds = {event["type"] for event in told}
    assert kinds >= {
        "REASONING_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_RESULT",
        "SUBAGENT_STARTED",
        "STEP_STARTED",
        "CUSTOM",
        "STATE_SNAPSHOT",
    }
    assert told[-1]["outcome"] == {"type": "success"}
    assert spoken(told) == "Let me measure the tide. High water at Ushant, and **both lights** are lit. "


@pytest.mark.asyncio
async def test_a_conversation_goes_on_and_a_run_that_is_asked_for_again_is_the_same_one(memory_server: Server) -> None:
    thread, first = str(uuid4()), str(uuid4())
    given = body("words=3", thread, first)
    told = await run(memory_server, "one", given)
    conforms(told)
    again = await run(memory_server, "one", given)
    conforms(again)
    assert conversation(again) == conversation(told)
    assert len(conversation(told)) == 2
    following = await run(memory_server, "one", body("words=2", thread))
    assert len(conversation(following)) == 4
    at_rest = await run(memory_server, "one", body("", thread))
    conforms(at_rest)
    assert conversation(at_rest) == conversation(following)


@pytest.mark.asyncio
async def test_an_earlier_message_is_answered_again_where_it_was_said(folder: Path) -> None:
    keeps = {"UNBROKEN_HISTORY": "all"}
    with Server(folder, arguments=["--in-memory"], environment=keeps) as server:
        for kept in (1, 3):
            thread = str(uuid4())
            told: Told = []
            for words in (1, 2, 3):
                told = await run(server, "one", body(f"words={words}", thread))
            (snapshot,) = [event for event in told if event["type"] == "MESSAGES_SNAPSHOT"][-1:]
            assert len(snapshot["messages"]) == 6
            given = snapshot["messages"][:kept]
            for n in range(2):
                given[-1] = given[-1] | {"content": f"words={n + 1} said otherwise"}
                again = await run(server, "one", body("", thread, messages=given))
                conforms(again)
                assert again[-1]["outcome"] == {"type": "success"}
                assert conversation(again)[:-1] == [(one["role"], one["content"]) for one in given]
                assert conversation(again)[-1][0] == "assistant", "what came after it is left behind"
                told = await run(server, "one", body("words=1", thread))
                assert len(conversation(told)) == kept + 3


@pytest.mark.asyncio
async def test_an_interrupt_is_answered_by_the_next_run(memory_server: Server) -> None:
    thread = str(uuid4())
    told = await run(memory_server, "booking", body("book", thread))
    conforms(told)
    outcome = told[-1]["outcome"]
    assert outcome["type"] == "interrupt"
    (asked,) = outcome["interrupts"]
    answer = {"interruptId": asked["id"], "status": "resolved", "payload": True}
    resumed = await run(memory_server, "booking", body("", thread, resume=[answer]))
    conforms(resumed)
    assert resumed[-1]["outcome"] == {"type": "success"}
    assert ("tool", "booked") in conversation(resumed)


@pytest.mark.asyncio
async def test_a_run_that_leaves_a_question_open_has_not_succeeded(memory_server: Server) -> None:
    thread = str(uuid4())
    asked = (await run(memory_server, "endings", body("ask=2", thread)))[-1]["outcome"]["interrupts"]
    answer = {"interruptId": asked[0]["id"], "status": "resolved", "payload": "one"}
    for still_open in (asked, asked[1:]):
        reloaded = await run(memory_server, "endings", body("", thread))
        conforms(reloaded)
        assert reloaded[-1]["outcome"] == {"type": "interrupt", "interrupts": still_open}
        if still_open is asked:
            resumed = await run(memory_server, "endings", body("", thread, resume=[answer]))
            conforms(resumed)
            assert resumed[-1]["outcome"] == {"type": "interrupt", "interrupts": asked[1:]}


@pytest.mark.asyncio
async def test_all_questions_come_with_the_end_however_many_they_are(memory_server: Server) -> None:
    many = PAGE + TAIL + 10
    told = await run(memory_server, "endings", body(f"ask={many}", str(uuid4())))
    assert len({asked["id"] for asked in told[-1]["outcome"]["interrupts"]}) == many


@pytest.mark.asyncio
async def test_what_cannot_be_is_refused_in_a_sentence_and_nobody_else_s_thread_is_told_of(
    memory_server: Server,
) -> None:
    thread = str(uuid4())
    await run(memory_server, "one", body("words=1", thread))
    unknown = await run(memory_server, "nobody", body("hello", str(uuid4())))
    assert (unknown[0]["status"], "nobody" in unknown[0]["detail"]) == (422, True)
    (shapeless,) = await run(memory_server, "one", {"threadId": "t", "messages": []})
    assert (shapeless["status"], "runId" in shapeless["detail"]) == (422, True)
    (foreign,) = await run(memory_server, "one", body("hello", thread, user="eve"), user="eve")
    assert foreign["status"] == 404
    (other,) = await run(memory_server, "booking", body("hello", thread))
    assert (other["status"], "one" in other["detail"]) == (409, True)


@pytest.mark.asyncio
async def test_a_server_killed_in_mid_answer_ends_the_same_run_when_it_is_asked_for_again(
    folder: Path, database_url: str
) -> None:
    environment = {
        "UNBROKEN_LEASE_TTL_S": "1",
        "UNBROKEN_HEARTBEAT_S": "0.3",
        "UNBROKEN_RECOVERY_POLL_S": "0.1",
    }
    thread, name = str(uuid4()), str(uuid4())
    given = body("words=40 pause=0.05", thread, name)
    with Server(folder, database_url=database_url, environment=environment) as server:
        told = await run(server, "one", given, until="TEXT_MESSAGE_CONTENT")
        assert told[-1]["type"] == "TEXT_MESSAGE_CONTENT"
        server.process.kill()
        await asyncio.to_thread(server.process.wait)
    with Server(folder, database_url=database_url, environment=environment) as server:
        ended = await run(server, "one", given)
        conforms(ended)
        assert ended[-1]["outcome"] == {"type": "success"}
        assert [role for role, _ in conversation(ended)] == ["user", "assistant"], "said once, answered once"
