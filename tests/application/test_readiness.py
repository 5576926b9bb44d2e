"""When a replica should get no new work, and that asking costs next to nothing."""

from __future__ import annotations

import asyncio

from tests.application.scripted_agent import echo
from tests.application.test_limits import stubborn
from tests.application.virtual_time import virtual
from tests.application.world import Node, World, until
from unbroken.application.readiness import Readiness
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.ports.store_health import StoreHealth, StoreState

READY = {"serving": "ok", "agents": "ok", "database": "ok", "schema": "ok", "lease": "ok"}


class Store(StoreHealth):
    def __init__(self) -> None:
        self.state = StoreState(schema_fits=True, lease_held=True)
        self.looks = 0
        self.takes_s = 0.01
        self.fails = False

    async def look(self, *, replica: int) -> StoreState:
        self.looks += 1
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise StoreUnavailable("no route to host db.internal")
        return self.state


def readiness(node: Node, store: StoreHealth, *, abandoned_limit: int = 0) -> Readiness:
    return Readiness(
        store=store,
        processor=node.processor,
        clock=node.world.clock,
        replica=node.id,
        abandoned_limit=abandoned_limit,
    )


@virtual
async def test_each_reason_is_told_by_the_name_of_its_check_and_never_an_address() -> None:
    node, store = await World().replica(), Store()
    ready = readiness(node, store)
    assert await ready() == READY
    store.state = StoreState(schema_fits=False, lease_held=False)
    await asyncio.sleep(1)
    found = await ready()
    assert {name for name, state in found.items() if state != "ok"} == {"schema", "lease"}
    store.fails = True
    await asyncio.sleep(1)
    assert (await ready())["database"] == "does not answer"


@virtual
async def test_a_store_that_keeps_silent_is_waited_for_two_seconds() -> None:
    node, store = await World().replica(), Store()
    store.takes_s = 3600
    began = node.world.clock.monotonic()
    assert (await readiness(node, store)())["database"] == "does not answer"
    assert node.world.clock.monotonic() - began == 2.0


@virtual
async def test_from_the_beginning_of_a_stop_on_it_is_not_ready() -> None:
    ready = readiness(await World().replica(), Store())
    assert await ready() == READY
    ready.stop()
    assert (await ready())["serving"] == "the server is stopping"


@virtual
async def test_a_crowd_that_asks_at_once_and_again_makes_one_look() -> None:
    node, store = await World().replica(), Store()
    ready = readiness(node, store)
    await asyncio.gather(*(ready() for _ in range(100)))
    assert store.looks == 1
    await ready()
    assert store.looks == 1
    await asyncio.sleep(0.6)
    await ready()
    assert store.looks == 2


@virtual
async def test_agents_that_outlive_their_attempts_are_counted_up_to_a_limit() -> None:
    node = await World().replica(turn_limit_s=5.0)
    strict, patient = readiness(node, Store()), readiness(node, Store(), abandoned_limit=1)
    node.agent.script = stubborn
    await node.say("hello")
    await until(lambda: node.processor.abandoned == 1)
    node.agent.script = echo
    await node.ended()
    assert (await strict())["agents"] == "1 stopped attempts have not ended"
    assert await patient() == READY
    await until(lambda: node.processor.abandoned == 0, limit_s=4000)
    assert await strict() == READY


@virtual
async def test_threads_that_outlive_their_attempts_are_counted_with_them() -> None:
    node = await World().replica()
    node.agents.left_behind = 2
    assert (await readiness(node, Store(), abandoned_limit=1)())["agents"] == "2 stopped attempts have not ended"
    node.agents.left_behind = 1
    assert (await readiness(node, Store(), abandoned_limit=1)())["agents"] == "ok"
