"""Whatever is asked, in whatever order, memory and PostgreSQL give the same answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from tests.contracts.conversation import PLENTY, owed, said, state_at
from tests.contracts.subjects import MemorySubject, PostgresSubject, Subject
from unbroken.domain.checkpoints import StateChange
from unbroken.domain.effects import EffectBody, EffectClaim, RequestInput, ScheduleTimer, SkipEvent
from unbroken.domain.errors import UnbrokenError
from unbroken.domain.events import Event, EventBody, InputResponse, NewEvent, TimerFired, UserMessage
from unbroken.domain.ports.event_store import Receipt
from unbroken.domain.ports.outbox import Reached
from unbroken.domain.session import Claim, SessionKey, SessionView
from unbroken.domain.turn import Committed, TurnChange

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEVER = datetime(2000, 1, 1, tzinfo=UTC)
THREADS = ("one", "two")
FAR = 1_000.0

Answer = Any
EFFECTS: tuple[tuple[EffectBody, ...], ...] = (
    (said("yes"),),
    (said("well"), RequestInput("q", {"a": [1]})),
    (said("later"), ScheduleTimer(0.0, 1, "t"), ScheduleTimer(FAR, 2)),
    (SkipEvent("overtaken"),),
)


class World:
    """One store, the replicas that use it, and every claim they ever held."""

    def __init__(self, store: Subject) -> None:
        self.store = store
        self.replicas: list[int] = []
        self.claims: list[Claim] = []
        self.effect_claims: list[EffectClaim] = []

    def replica(self, choice: int) -> int:
        return self.replicas[choice % len(self.replicas)]

    def remember(self, claim: Claim | None) -> None:
        if claim is not None:
            self.claims.append(claim)

    def comparable(self, value: Any) -> Answer:
        """The answer without what must differ: times, and the numbers that a store gives to its replicas."""
        match value:
            case UnbrokenError():
                return type(value).__name__, {name: field for name, field in vars(value).items() if name != "reason"}
            case Event():
                return replace(value, created_at=NEVER)
            case Claim():
                return replace(value, event=replace(value.event, created_at=NEVER), owner=self.place_of(value.owner))
            case EffectClaim():
                return replace(value, created_at=NEVER)
            case SessionView():
                owner = None if value.owner is None else self.place_of(value.owner)
                names = [name for name in value.__struct_fields__ if name != "owner"]
                return [owner, *(self.comparable(getattr(value, name)) for name in names)]
            case Receipt() | Committed() | Struct():
                return [self.comparable(getattr(value, name)) for name in value.__struct_fields__]
            case list() | tuple():
                return [self.comparable(item) for item in value]
        return value

    def place_of(self, owner: int) -> int:
        return self.replicas.index(owner)

    async def everything(self) -> Answer:
        """All that can be read through the ports."""
        found: list[Any] = []
        for thread in THREADS:
            found.append(await self.store.sessions.view(thread))
            found.append(await self.store.outbox.read(thread, after=0, limit=PLENTY))
            found.append([await self.store.checkpoints.load(thread, ns, None) for ns in ("", "sub")])
        found.append(
            [sorted((await self.store.sessions.strays(replica=id_, limit=PLENTY)).threads) for id_ in self.replicas]
        )
        found.append([sorted(dict(await self.store.sessions.standing(replica=id_)).items()) for id_ in self.replicas])
        found.append(sorted(await self.store.timers.due(limit=PLENTY), key=lambda due: (due.key, due.timer_id)))
        found.append(await self.store.timers.next_due_s() is None)
        found.append(await self.store.outbox.next_due() is None)
        return self.comparable(found)


class Step:
    """One call, made the same way in each world."""

    def __init__(self, name: str, call: Callable[[World], Awaitable[Any]]) -> None:
        self.name = name
        self.call = call

    def __repr__(self) -> str:
        return self.name

    async def answer(self, world: World) -> Answer:
        try:
            return world.comparable(await self.call(world))
        except UnbrokenError as error:
            return world.comparable(error)


def accept(thread: str, user: str, request: int, body: EventBody, replica: int, limit: int) -> Step:
    async def call(world: World) -> Receipt:
        new = NewEvent(f"event-{thread}-{request}", f"request-{request}", body)
        receipt = await world.store.event_store.accept(
            SessionKey(user, "demo", thread), new, replica=world.replica(replica), queue_limit=limit
        )
        world.remember(receipt.claim)
        return receipt

    return Step(f"accept({thread}, {user}, {request}, {body}, {replica}, {limit})", call)


def claim(thread: str, replica: int) -> Step:
    async def call(world: World) -> Claim | None:
        found = await world.store.sessions.claim(thread, replica=world.replica(replica))
        world.remember(found)
        return found

    return Step(f"claim({thread}, {replica})", call)


def commit(back: int, number: int, ns: str, finishes: bool, effects: int, how: str) -> Step:
    """Commit under a claim once held, the last one or an older one."""

    async def call(world: World) -> Committed | None:
        if not world.claims:
            return None
        held = world.claims[-1 - back % len(world.claims)]
        state = state_at(number, ns=ns) if how == "moves" else StateChange()
        bodies = owed(held, *EFFECTS[effects]) if finishes else ()
        bodies = tuple(replace(effect, id=effect.dedupe_key) for effect in bodies)
        change = TurnChange(held, state, finishes, bodies, reverts=finishes and how == "reverts")
        committed = await world.store.unit_of_work.commit(change)
        if finishes:
            world.claims.remove(held)
            world.claims.insert(0, held)
        world.remember(committed.next)
        return committed

    return Step(f"commit({back}, {number}, {ns!r}, {finishes}, {effects}, {how})", call)


def put(thread: str, number: int, ns: str, moves: bool) -> Step:
    async def call(world: World) -> None:
        state = state_at(number, ns=ns)
        await world.store.checkpoints.put(thread, state if moves else replace(state, heads=()))

    return Step(f"put({thread}, {number}, {ns!r}, {moves})", call)


def keep(thread: str, latest: bool) -> Step:
    return Step(
        f"prune({thread}, {latest})",
        lambda world: world.store.checkpoint_upkeep.prune([thread], keep_latest=latest),
    )


def join(name: str, alive: bool) -> Step:
    async def call(world: World) -> int:
        replica = await world.store.replicas.join(name, lease_ttl_s=FAR if alive else 0.0)
        world.replicas.append(replica.id)
        return replica.boot

    return Step(f"join({name}, {alive})", call)


def renew(replica: int, alive: bool) -> Step:
    return Step(
        f"renew({replica}, {alive})",
        lambda world: world.store.replicas.renew(world.replica(replica), lease_ttl_s=FAR if alive else 0.0),
    )


def leave(replica: int) -> Step:
    return Step(f"leave({replica})", lambda world: world.store.replicas.leave(world.replica(replica)))


def schedule(thread: str, timer: str, after: int, by: str, soon: bool) -> Step:
    return Step(
        f"schedule({thread}, {timer}, {after}, {by}, {soon})",
        lambda world: world.store.timers.schedule(
            thread, timer, after_event=after, created_by=by, after_s=0.0 if soon else FAR, payload={"by": by}
        ),
    )


def mark(thread: str, sent: int, acked: int) -> Step:
    return Step(
        f"mark({thread}, {sent}, {acked})",
        lambda world: world.store.outbox.mark({thread: Reached(sent)}, {thread: Reached(acked)}),
    )


def claim_effects(holds: bool) -> Step:
    async def call(world: World) -> Sequence[EffectClaim]:
        found = await world.store.outbox.claim(replica=world.replica(0), limit=PLENTY, until_s=FAR if holds else 0.0)
        found = sorted(found, key=lambda effect: effect.thread_id)
        world.effect_claims += found
        return found

    return Step(f"claim_effects({holds})", call)


def end_effect(back: int, how: str) -> Step:
    async def call(world: World) -> bool | None:
        if not world.effect_claims:
            return None
        held = world.effect_claims[-1 - back % len(world.effect_claims)]
        if how == "completed":
            return await world.store.outbox.complete(held)
        pause_s = {"failed": None, "again": 0.0, "later": FAR}[how]
        return await world.store.outbox.postpone(held, retry_after_s=pause_s)

    return Step(f"end_effect({back}, {how})", call)


threads, small, flag = st.sampled_from(THREADS), st.integers(0, 3), st.booleans()
timers = st.sampled_from(["t", "u"])
bodies: st.SearchStrategy[EventBody] = st.one_of(
    *[st.builds(UserMessage, st.sampled_from(["a", "a", "a", "b"]))] * 4,
    st.builds(InputResponse, st.just("q"), st.sampled_from([None, {"k": [1.5, "é"]}])),
    st.builds(TimerFired, timers, st.integers(1, 2), st.none()),
)
users = st.sampled_from(["ann"] * 9 + ["bob"])
namespaces = st.sampled_from(["", "", "sub"])
limits = st.sampled_from([3, 100, 100])
hows = st.sampled_from(["moves", "moves", "stays", "reverts"])
ends = st.sampled_from(["completed", "completed", "failed", "again", "later"])
STEPS: list[tuple[int, st.SearchStrategy[Step]]] = [
    (8, st.builds(accept, threads, users, st.integers(1, 30), bodies, small, limits)),
    (4, st.builds(claim, threads, small)),
    (5, st.builds(commit, st.just(0), st.integers(1, 30), namespaces, st.just(True), small, hows)),
    (4, st.builds(commit, st.integers(0, 2), st.integers(1, 30), namespaces, flag, small, hows)),
    (1, st.builds(put, threads, st.integers(1, 30), namespaces, flag)),
    (1, st.builds(keep, threads, flag)),
    (1, st.builds(join, st.sampled_from(["a", "b"]), flag)),
    (1, st.builds(renew, small, flag)),
    (1, st.builds(leave, small)),
    (2, st.builds(schedule, threads, timers, st.integers(0, 6), st.sampled_from(["e1", "e2", "e3"]), flag)),
    (1, st.builds(mark, threads, small, small)),
    (2, st.builds(claim_effects, flag)),
    (2, st.builds(end_effect, st.integers(0, 1), ends)),
]
steps = st.sampled_from([strategy for weight, strategy in STEPS for _ in range(weight)]).flatmap(lambda chosen: chosen)
histories = st.lists(steps, min_size=30, max_size=60)


@pytest.mark.parametrize("version", [18, 15])
@settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking a history means minutes of database; the step at fault is named anyway
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=histories)
async def test_the_same_calls_get_the_same_answers(
    opened: Callable[[int], Awaitable[PostgresSubject]], version: int, history: list[Step]
) -> None:
    postgres = await opened(version)
    await postgres.wipe()
    worlds = [World(MemorySubject()), World(postgres)]
    for step in [join("a", True), join("b", True), *history]:
        ours, theirs = [await step.answer(world) for world in worlds]
        assert ours == theirs, f"memory and PostgreSQL disagree on {step}"
    ours, theirs = [await world.everything() for world in worlds]
    assert ours == theirs
