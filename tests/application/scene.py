"""A session that one replica works on and others watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.application.carrier import Carrier
from tests.application.puppet import Puppet
from tests.application.reader import Reader
from tests.application.world import KEY, Node, World, until
from unbroken.application.deliveries import ShowReset
from unbroken.application.subscribe import Shown
from unbroken.domain.errors import Unavailable


class Scene:
    """A session whose owner is `owner`, and readers of it elsewhere."""

    def __init__(self, world: World, carrier: Carrier) -> None:
        self.world = world
        self.carrier = world.hub.carry = carrier
        self.nodes: list[Node] = []
        self._polls: list[asyncio.Task[None]] = []

    async def node(self, name: str) -> Node:
        node = await self.world.replica(name)
        self.nodes.append(node)
        return node

    def watches(self, node: Node) -> None:
        """It learns what others do by the poll, and claims nothing."""

        async def forever() -> None:
            while True:
                with suppress(Unavailable):
                    await node.queue.catch_up()
                await asyncio.sleep(1.0)

        self._polls.append(asyncio.create_task(forever()))

    async def end(self) -> None:
        for poll in self._polls:
            poll.cancel()
        await asyncio.gather(*self._polls, return_exceptions=True)
        for node in self.nodes:
            await node.stop()


@asynccontextmanager
async def scene(carrier: Carrier | None = None) -> AsyncIterator[Scene]:
    stage = Scene(World(), carrier or Carrier())
    yield stage
    await stage.end()


async def speaking(stage: Scene) -> tuple[Node, Puppet]:
    """A replica whose agent has begun on a message."""
    owner = await stage.node("owner")
    puppet = Puppet(owner)
    await owner.say("hello")
    await until(lambda: puppet.speaking)
    return owner, puppet


async def watching(
    stage: Scene, name: str = "other", shown: Shown | None = None, text: str = ""
) -> tuple[Node, Reader]:
    node = await stage.node(name)
    stage.watches(node)
    return node, Reader(await node.subscribe(KEY, cursor=0, shown=shown), shown, text)


def resets(reader: Reader) -> list[tuple[int, str]]:
    return [(item.attempt, item.reason) for item in reader.seen if isinstance(item, ShowReset)]
