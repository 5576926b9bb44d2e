"""A cancel that races the end of its turn, a thousand times, and how soon silence follows a cancel."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from statistics import quantiles
from typing import Any

import pytest

from tests.end_to_end.client import Client
from tests.end_to_end.conftest import Serving
from tests.end_to_end.tables import read_thread

TALKERS = 20
RACES = 50
OUTCOMES = {
    ("cancelling", "cancelled"): "cancelled",
    ("already_ended", "final"): "answered",
}


class Racer:
    """One thread, in which every turn is cancelled at a moment around its end."""

    def __init__(self, client: Client, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.silences: list[float] = []
        """Seconds from a cancel to the last token that came after it."""
        self.receipts: list[float] = []
        self._client = client
        self._random = random.Random(seed)
        self._usual_s = 0.05

    async def race(self, lines: list[tuple[float, dict[str, Any]]]) -> None:
        clock = asyncio.get_running_loop().time
        request = await self._client.say("words=5")
        began = clock()
        await self._client.until(lambda c: request in c.view.attempts)
        await asyncio.sleep(max(0.0, self._usual_s * self._random.uniform(0.6, 1.4) - (clock() - began)))
        asked = clock()
        await self._client.send({"type": "cancel", "requestId": request})
        await self._client.answered(request)
        await self._client.until(lambda c: self._told(request) is not None)
        end = self._client.view.ends[request]["type"]
        self.outcomes[OUTCOMES[self._told(request) or "", end]] += 1
        of_request = [(at, line["frame"]) for at, line in lines if line.get("frame", {}).get("requestId") == request]
        after = [at - asked for at, frame in of_request if frame["type"] == "token" and at > asked]
        self.silences.append(max(after, default=0.0))
        self.receipts += [at - asked for at, frame in of_request if frame["type"] == "cancelling"]
        self._usual_s *= 1.1 if end == "cancelled" else 0.9  # so that about as many win as lose
        lines.clear()

    def _told(self, request: str) -> str | None:
        """How the cancel itself was answered."""
        for frame in reversed(self._client.view.frames):
            if frame.get("requestId") == request and frame["type"] == "cancelling":
                return "cancelling"
            if frame.get("requestId") == request and frame["type"] == "error" and "cursor" not in frame:
                return str(frame["code"])
        return None


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_cancel_racing_the_end_has_one_winner_a_thousand_times(serving: Serving) -> None:
    racers: list[Racer] = []

    async def run(number: int) -> None:
        lines: list[tuple[float, dict[str, Any]]] = []
        clock = asyncio.get_running_loop().time
        record = lambda line: lines.append((clock(), line))  # noqa: E731
        async with Client(serving.url, thread=f"race-{number}", agent="one", record=record) as client:
            racer = Racer(client, seed=number)
            racers.append(racer)
            for _ in range(RACES):
                await racer.race(lines)
            assert client.view.faults == []
        stored = await read_thread(serving.database_url, f"race-{number}")
        assert [effect.event_seq for effect in stored.log] == list(range(1, RACES + 1))
        kinds = Counter(effect.type for effect in stored.log)
        assert kinds["cancel_turn"] == racer.outcomes["cancelled"]
        assert kinds["send_message"] == racer.outcomes["answered"]

    await asyncio.gather(*(run(number) for number in range(TALKERS)))
    outcomes = sum((racer.outcomes for racer in racers), Counter())
    assert outcomes.total() == TALKERS * RACES
    assert set(outcomes) == set(OUTCOMES.values()), "both kinds are to be seen"
    silences = quantiles([s for racer in racers for s in racer.silences], n=100)
    receipts = quantiles([s for racer in racers for s in racer.receipts], n=100)
    print(  # noqa: T201
        f"{dict(outcomes)}; from cancel to silence p50 {silences[49] * 1000:.0f} ms, p99 {silences[98] * 1000:.0f} ms; "
        f"to its receipt p50 {receipts[49] * 1000:.0f} ms, p99 {receipts[98] * 1000:.0f} ms"
    )
