"""What others did reaches those who watch here within a look; who is alone asks nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.application.reader import Reader
from tests.application.virtual_time import virtual
from tests.application.world import KEY, Node, World
from unbroken.application.event_queue import LAST_WORDS_S
from unbroken.domain.errors import StoreUnavailable
from unbroken.domain.session import Position, SessionKey

OTHER = SessionKey("ann", "demo", "other")


class Asked:
    """Which sessions the store is asked about."""

    def __init__(self, world: World) -> None:
        self._behind = world.store.sessions.behind
        self.threads: list[str] = []
        self.refuses = False
        world.store.sessions.behind = self._counted  # type: ignore[method-assign]

    async def _counted(self, known: Mapping[str, Position]) -> Sequence[str]:
        if self.refuses:
            raise StoreUnavailable("no answer")
        self.threads += known
        return await self._behind(known)

    async def in_a_look(self, node: Node) -> list[str]:
        self.threads.clear()
        await node.queue.catch_up()
        return self.threads


async def watching_alone(world: World, *keys: SessionKey) -> tuple[Node, Asked]:
    """A replica with a reader of each session, that has been alone for long enough to know that it is."""
    node, asked = await world.replica("a"), Asked(world)
    await world.store.replicas.renew(node.id, lease_ttl_s=10 * LAST_WORDS_S)
    for key in keys:
        await node.subscribe(key, cursor=0)
    threads = [key.thread_id for key in keys]
    assert await asked.in_a_look(node) == threads
    await world.clock.sleep(LAST_WORDS_S / 2)
    assert await asked.in_a_look(node) == threads, "something of a replica that is gone may come yet"
    await world.clock.sleep(LAST_WORDS_S / 2)
    assert await asked.in_a_look(node) == threads
    return node, asked


@virtual
async def test_who_is_alone_asks_about_nothing_twice() -> None:
    world = World()
    node, asked = await watching_alone(world, KEY, OTHER)
    assert await asked.in_a_look(node) == []
    await node.say("hello")
    await node.ended()
    await node.subscribe(SessionKey("ann", "demo", "new"), cursor=0)
    assert await asked.in_a_look(node) == []


@virtual
async def test_what_another_replica_said_between_two_looks_is_shown_although_it_has_left() -> None:
    world = World()
    node, asked = await watching_alone(world, OTHER)
    reader = Reader(await node.subscribe(KEY, cursor=0))
    visitor = await world.replica("b")
    await visitor.say("said elsewhere")
    await visitor.ended()
    await visitor.stop()
    assert await world.store.sessions.alone(replica=node.id) is not None
    assert set(await asked.in_a_look(node)) == {KEY.thread_id, OTHER.thread_id}
    await reader.drain()
    assert reader.log == await world.log()
    assert len(reader.log) == 1
    reader.close()


@virtual
async def test_while_another_replica_is_there_each_look_asks_about_all() -> None:
    world = World()
    node, asked = await watching_alone(world, KEY)
    other = await world.replica("b")
    await world.store.replicas.renew(other.id, lease_ttl_s=0.0)
    for _ in range(3):
        await world.clock.sleep(LAST_WORDS_S)
        assert await asked.in_a_look(node) == [KEY.thread_id]


@virtual
async def test_a_session_that_had_work_here_in_the_last_look_is_asked_about_in_the_next_one() -> None:
    world = World()
    node, asked = await world.replica("a"), Asked(world)
    await node.subscribe(KEY, cursor=0)
    await node.queue.catch_up()
    await world.clock.sleep(LAST_WORDS_S)
    async with node.queue.expecting(KEY.thread_id):
        assert await asked.in_a_look(node) == []
        assert await asked.in_a_look(node) == []
    assert await asked.in_a_look(node) == [KEY.thread_id]
    assert await asked.in_a_look(node) == []


@virtual
async def test_a_look_that_fails_is_made_again() -> None:
    world = World()
    node, asked = await world.replica("a"), Asked(world)
    await node.subscribe(KEY, cursor=0)
    await node.queue.catch_up()
    await world.clock.sleep(LAST_WORDS_S)
    asked.refuses = True
    for _ in range(2):
        try:
            await node.queue.catch_up()
        except StoreUnavailable:
            continue
        raise AssertionError("it was asked")
    asked.refuses = False
    assert await asked.in_a_look(node) == [KEY.thread_id]
    assert await asked.in_a_look(node) == []
