"""What a store says of a replica's lease."""

from __future__ import annotations

import pytest

from tests.contracts.conversation import replica_of
from tests.contracts.subjects import Subject

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def held(store: Subject, replica: int) -> bool:
    return (await store.health.look(replica=replica)).lease_held


async def test_a_lease_is_held_from_joining_until_it_ends_is_given_back_or_a_later_boot_takes_it(
    store: Subject,
) -> None:
    joined = await replica_of(store)
    assert await held(store, joined.id)
    await store.replicas.renew(joined.id, lease_ttl_s=0)
    assert not await held(store, joined.id)
    await store.replicas.renew(joined.id, lease_ttl_s=60)
    assert await held(store, joined.id)
    successor = await replica_of(store, joined.name)
    assert not await held(store, joined.id)
    await store.replicas.leave(successor.id)
    assert not await held(store, successor.id)
    assert not await held(store, 2**40), "nobody ever joined as this one"
