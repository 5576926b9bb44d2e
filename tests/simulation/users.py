"""One person with devices: says things, changes their mind, answers questions, presses buttons twice."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.simulation.client import Device
    from tests.simulation.world import World

BUSY: Final = ("enqueue", "reject", "interrupt", "rollback")


class User:
    def __init__(
        self, world: World, thread_id: str, devices: list[Device], random: Random, *, name: str = "", messages: int = 0
    ) -> None:
        """`messages`: how many they say; 0: some."""
        self.thread_id = thread_id
        self.done = False
        self._world = world
        self._devices = devices
        self._random = random
        self._said = 0
        self._name = name
        self._to_say = messages or random.choice((2, 3, 4, 6))
        self._floods = random.random() < 0.05

    async def live(self) -> None:
        """Until everything they wanted to say was said."""
        random = self._random
        await asyncio.sleep(0.1 * random.random())
        while self._said < self._to_say:
            self._act(random.choice(self._devices))
            if not self._floods:
                await asyncio.sleep(random.choice((0.0, 0.01, 0.1, self._world.active_s / self._to_say)))
        self.done = True

    def _act(self, device: Device) -> None:
        random = self._random
        chance = random.random()
        known = [request for device in self._devices for request in device.open]
        asked = [question for device in self._devices for question in device.questions]
        if asked and chance < 0.6:
            request_id = self._request()
            plan = self._world.plans.new()
            self._world.contents[request_id] = plan.name
            device.respond(request_id, random.choice(asked), plan.name)
        elif known and chance < 0.25:
            device.cancel(random.choice(known))
        elif (own := [request for request in known if "-run-" not in request]) and chance < 0.35:
            device.repeat(random.choice(own), changed=random.random() < 0.3)
            self._said += random.random() < 0.3
        else:
            self._say(device)

    def _say(self, device: Device) -> None:
        random = self._random
        options: dict[str, Any] = {}
        if random.random() < 0.15:
            options["whenBusy"] = random.choice(BUSY)
        ended = [request for request in device.ended if not request.startswith("timer:")]
        if ended and random.random() < 0.15:
            options["replaces"] = random.choice(ended)
        request_id = self._request()
        plan = self._world.plans.new()
        self._world.contents[request_id] = plan.name
        device.say(request_id, plan.name, **options)

    def _request(self) -> str:
        self._said += 1
        return f"{self.thread_id}-{self._name}{self._said}"
