"""What a session's own user is told of it over REST."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.server import Server
from tests.web.rest import Reply, Rest
from unbroken.domain.session import SessionKey


class Told:
    """One thread of one user's."""

    def __init__(self, server: Server, thread: str, *, user: str, agent: str = "three") -> None:
        self.server, self.thread, self.user, self.agent = server, thread, user, agent
        self.key = str(SessionKey(user, agent, thread))
        self.rest = Rest(server, user)

    def client(self, **options: Any) -> Client:
        return Client(self.server.url, thread=self.thread, user=self.user, agent=self.agent, **options)

    def ask(self, path: str = "timeline", **query: Any) -> Reply:
        return self.rest.ask("GET", f"/api/sessions/{quote(self.key, safe='')}/{path}", query=query)

    async def acknowledged(self) -> list[dict[str, Any]]:
        """The turns, once the last entry of the log is told as acknowledged: marks are written once a second."""
        async with asyncio.timeout(60):
            while True:
                told = self.ask().json
                if told["acked"] == told["cursor"] > 0:
                    return list(told["turns"])
                await asyncio.sleep(0.1)


@pytest.fixture
def told(memory_server: Server, thread: str) -> Told:
    return Told(memory_server, thread, user=f"the user of {thread}"[:100])


def kinds(turn: dict[str, Any]) -> list[str]:
    return [entry["kind"] for entry in turn["entries"]]


@pytest.mark.asyncio
async def test_a_turn_is_told_from_its_arrival_to_its_acknowledgement(told: Told) -> None:
    async with told.client() as client:
        request = await client.say("one two three")
        await client.answered(request)
        (turn,) = await told.acknowledged()
    assert (turn["seq"], turn["requestId"], turn["state"], turn["attempts"]) == (1, request, "answered", 1)
    steps = ["checkpoint"] * (len(turn["entries"]) - 7)
    assert len(steps) > 2
    ends = ["committed", "effect", "delivered", "acknowledged"]
    assert kinds(turn) == ["received", "accepted", "attempt", *steps, *ends]
    assert all(entry["at"] for entry in turn["entries"])
    assert all(entry["ms"] >= 0 for entry in turn["entries"] if entry["kind"] in ("accepted", *ends) and "ms" in entry)
    assert turn["traceUrl"] is None


@pytest.mark.asyncio
async def test_events_are_told_in_pages_and_filtered(told: Told) -> None:
    async with told.client() as client:
        requests = [await client.say(str(number)) for number in range(3)]
        await client.answered(*requests)
    newest = told.ask(limit=2).json
    assert ([turn["requestId"] for turn in newest["turns"]], newest["before"]) == (requests[1:], 2)
    older = told.ask(limit=2, before=newest["before"]).json
    assert ([turn["requestId"] for turn in older["turns"]], older["before"]) == (requests[:1], None)
    (one,) = told.ask(requestId=requests[1], kind="attempt,effect").json["turns"]
    assert kinds(one) == ["attempt", "effect"]
    wrong = ({"limit": 51}, {"limit": 0}, {"limit": -1}, {"kind": "attempt,gossip"}, {"before": "x"})
    for query in (*wrong, {"before": 0}, {"before": -1}, {"before": 2**53}, {"before": 2**64}):
        assert told.ask(**query).error == (400, "bad_request"), query


@pytest.mark.asyncio
async def test_a_checkpoint_shows_what_the_state_held_there(told: Told) -> None:
    async with told.client() as client:
        await client.answered(await client.say("remember me"))
    (turn,) = told.ask().json["turns"]
    made = [entry["checkpointId"] for entry in turn["entries"] if entry["kind"] == "checkpoint"]
    held = [told.ask(f"checkpoints/{one}").json["values"].get("messages", []) for one in made]
    lengths = [len(messages) for messages in held]
    assert lengths == sorted(lengths)
    assert lengths[-1] > 1
    assert held[-1][0]["content"] == "remember me"
    assert told.ask("checkpoints/none").error == (404, "not_found")
    assert told.ask(f"checkpoints/{made[0]}", ns="none").error == (404, "not_found")


@pytest.mark.asyncio
async def test_what_is_not_a_key_or_names_another_agent_is_not_found(told: Told) -> None:
    async with told.client() as client:
        await client.answered(await client.say("hello"))
    for key in ("no-key", "a:b", f"{told.user}:one:{told.thread}", f"{told.key}:x", "%E2%28"):
        assert told.rest.ask("GET", f"/api/sessions/{quote(key, safe='')}/timeline").error == (404, "not_found"), key


@pytest.mark.asyncio
async def test_only_what_was_given_up_is_tried_again(told: Told) -> None:
    async with told.client() as client:
        await client.answered(await client.say("hello"))
    (turn,) = told.ask(kind="effect").json["turns"]
    path = f"/api/sessions/{quote(told.key, safe='')}/effects/{turn['entries'][0]['effectId']}/retry"
    assert told.rest.ask("POST", path).error == (409, "not_given_up")
