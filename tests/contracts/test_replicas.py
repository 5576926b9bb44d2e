"""Replicas: a boot, its lease, and its end."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.conversation import Conversation, replica_of, unique
from tests.contracts.subjects import Subject

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_each_join_is_a_new_boot_with_its_own_id(store: Subject) -> None:
    name = unique("replica")
    boots = [await replica_of(store, name) for _ in range(3)]
    assert [(boot.name, boot.boot) for boot in boots] == [(name, n) for n in (1, 2, 3)]
    assert len({boot.id for boot in boots} | {(await replica_of(store)).id}) == 4


async def test_racing_boots_of_one_name_leave_one_alive(store: Subject) -> None:
    name = unique("replica")
    boots = await asyncio.gather(*(replica_of(store, name) for _ in range(8)))
    assert sorted(boot.boot for boot in boots) == list(range(1, 9))
    alive = [boot for boot in boots if await store.replicas.renew(boot.id, lease_ttl_s=60)]
    assert [boot.boot for boot in alive] == [8]


async def test_a_second_boot_voids_the_first_ones_lease_at_once(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.accept()
    assert await talk.claim(await replica_of(store)) is None
    heir = await replica_of(store, talk.replica.name)
    assert await talk.is_stray_for(heir)
    assert not await store.replicas.renew(talk.replica.id, lease_ttl_s=60)
    claim = await talk.claim(heir)
    assert claim is not None
    assert (claim.tries, claim.taken_over, claim.owner) == (2, True, heir.id)


async def test_another_name_voids_nobodys_lease(store: Subject) -> None:
    talk = await Conversation.begin(store)
    await talk.accept()
    await replica_of(store)
    assert await store.replicas.renew(talk.replica.id, lease_ttl_s=60)
    assert await talk.claim(await replica_of(store)) is None


async def test_a_lapsed_lease_is_renewed_unless_it_was_replaced(store: Subject) -> None:
    talk, other = await Conversation.begin(store), await replica_of(store)
    await talk.accept()
    assert await store.replicas.renew(talk.replica.id, lease_ttl_s=0)
    assert await talk.is_stray_for(other)
    assert await store.replicas.renew(talk.replica.id, lease_ttl_s=60)
    assert not await talk.is_stray_for(other)


async def test_who_has_left_cannot_renew_and_counts_on_from_its_boot(store: Subject) -> None:
    name = unique("replica")
    first = await replica_of(store, name)
    await store.replicas.leave(first.id)
    await store.replicas.leave(first.id)
    assert not await store.replicas.renew(first.id, lease_ttl_s=60)
    second = await replica_of(store, name)
    assert second.boot > first.boot
    assert second.id != first.id


async def test_nobody_renews_for_a_replica_that_never_was(store: Subject) -> None:
    assert not await store.replicas.renew(2**40, lease_ttl_s=60)
