"""Somebody who starts runs, answers what was asked, forks and writes the state of a thread, and follows it by place.

What LangGraph's own protocols are made of: the same use cases as a chat's, asked without a chat's frames. Each request
is repeated under its own id until somebody confirms or refuses it; each reader comes back with the place it was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from tests.simulation.agent import DEFAULT
from unbroken.application.deliveries import Delivery, ShowLogged, ShowReset, ShowStep, ShowText, ShowTool
from unbroken.application.subscribe import Since
from unbroken.domain.checkpoints import ROOT
from unbroken.domain.errors import Refused, ThreadDeleted, UnbrokenError
from unbroken.domain.events import EventBody, RunStart, StateUpdate, WhenBusy
from unbroken.domain.growing import said_in
from unbroken.domain.session import SessionKey
from unbroken.domain.stream_parts import StepPart, TextPart
from unbroken.domain.utf16 import units

if TYPE_CHECKING:
    from tests.simulation.replica import Replica
    from tests.simulation.world import World

PATIENCE_S: Final = 2.0
KINDS: Final[tuple[Literal["run", "resume", "fork", "update"], ...]] = ("run", "run", "resume", "fork", "update")
Told = tuple[int, int, str]
"""Attempt, place in its stream, and what stands there: a UTF-16 code unit of the text or of a thought, or a step."""

T = TypeVar("T")


class Caller:
    def __init__(self, world: World, thread_id: str, random: Random) -> None:
        self.thread_id = thread_id
        self.done = False
        self.asked: dict[str, dict[str, Any]] = {}
        """Bodies by request id, as they are stored."""
        self.accepted: dict[str, int] = {}
        """`seq` of what was confirmed."""
        self.branches: dict[str, list[str]] = {}
        """What the state held at a checkpoint that was gone on from: ids of events."""
        self._world = world
        self._random = random
        self._key = SessionKey(f"ann-{thread_id}", DEFAULT, thread_id)

    async def live(self) -> None:
        random = self._random
        for number in range(1, random.choice((1, 2, 3, 4)) + 1):
            await asyncio.sleep(random.choice((0.02, 0.1, self._world.active_s / 3)))
            body = self._body()
            if body is not None:
                request_id = f"{self.thread_id}-run-{number}"
                self.asked[request_id] = msgspec.to_builtins(body)
                self._world.contents[request_id] = ""
                await self._insist(request_id, body)
        self.done = True

    def _body(self) -> EventBody | None:
        random = self._random
        session = self._world.database.sessions.get(self.thread_id)
        if session is None or session.key != self._key:
            return None  # whoever speaks first owns it
        plan = self._world.plans.new()
        kind = random.choice(KINDS)
        if kind == "resume":
            answered = random.sample(session.open_questions, min(1, len(session.open_questions)))
            resume: Any = dict.fromkeys(answered, plan.name) if random.random() < 0.5 else plan.name
            return RunStart(command={"resume": resume}) if answered else None
        checkpoint_id = self._checkpoint() if kind == "fork" or random.random() < 0.1 else None
        if kind == "fork" and checkpoint_id is None:
            return None
        if kind == "update":
            return StateUpdate({"note": plan.name}, checkpoint_id=checkpoint_id)
        message = {"type": "human", "content": plan.name}
        return RunStart({"messages": [message]}, checkpoint_id=checkpoint_id, rich=random.random() < 0.5)

    def _checkpoint(self) -> str | None:
        """Any of the thread's, and what its state held."""
        state = self._world.database.agent_states.get(self.thread_id)
        known = sorted(id_ for namespace, id_ in state.checkpoints if namespace == ROOT) if state else []
        if not state or not known:
            return None
        chosen = self._random.choice(known)
        self.branches[chosen] = self._world.held_at(state, chosen)
        return chosen

    async def _insist(self, request_id: str, body: EventBody) -> None:
        """Until somebody has confirmed or refused it."""
        when_busy = self._random.choice((None, None, *WhenBusy))
        while True:
            answer = await self._at_some_replica(
                lambda service: service.accept(self._key, request_id, body, when_busy=when_busy)
            )
            if isinstance(answer, Refused):
                return
            if answer is not None and not isinstance(answer, BaseException):
                self.accepted[request_id] = answer.event.seq
                return
            await asyncio.sleep(0.1 + 0.2 * self._random.random())

    async def _at_some_replica(self, ask: Callable[[Any], Awaitable[T]]) -> T | BaseException | None:
        """What came of it at a replica; None: nobody knows."""
        up = [replica for replica in self._world.replicas if replica.up]
        if not up:
            return None
        replica = self._random.choice(up)
        answer: asyncio.Future[T | BaseException] = asyncio.get_running_loop().create_future()
        self._world.loop.spawn(replica.actor, self._answered(replica, ask, answer))
        await asyncio.wait({answer}, timeout=PATIENCE_S)
        return answer.result() if answer.done() else None

    async def _answered(
        self, replica: Replica, ask: Callable[[Any], Awaitable[T]], answer: asyncio.Future[T | BaseException]
    ) -> None:
        result: T | BaseException
        try:
            result = await ask(replica.service)
        except UnbrokenError as error:
            result = error

        def tell() -> None:
            if not answer.done():
                answer.set_result(result)

        self._world.loop.later(0.001, tell)


class Follower:
    """A reader that goes on by place (`Since`), at any replica: what stands at a place of an attempt is the same
    wherever and whenever it is read (I6, I8)."""

    def __init__(self, world: World, thread_id: str, random: Random) -> None:
        self.thread_id = thread_id
        self.leaving = False
        self.wrong: list[str] = []
        self._world = world
        self._random = random
        self._key = SessionKey(f"ann-{thread_id}", DEFAULT, thread_id)
        self._cursor = 0
        self._attempt = 0
        self._place = 0
        self._known: dict[tuple[int, int], str] = {}

    async def forever(self) -> None:
        while not self.leaving:
            up = [replica for replica in self._world.replicas if replica.up]
            if up:
                replica = self._random.choice(up)
                reading = self._world.loop.spawn(
                    replica.actor, self._read(replica, self._random.choice((0.2, 0.7, 3.0)))
                )
                while not reading.done() and not replica.actor.dead and not self.leaving:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)

    async def _read(self, replica: Replica, for_s: float) -> None:
        if self._attempt and self._random.random() < 0.3:
            self._place = self._random.randint(0, self._place)  # it lost what it was told last
        since = Since(self._attempt, self._place) if self._attempt else None
        loop = asyncio.get_running_loop()
        until = loop.time() + for_s
        try:
            subscription = await replica.service.subscribe(self._key, cursor=self._cursor, shown=since)
        except UnbrokenError:
            return
        try:
            while not self.leaving and loop.time() < until:
                timer = loop.call_later(0.1, subscription.interrupt)
                for delivery in await subscription.next():
                    self._take(delivery)
                timer.cancel()
        except (UnbrokenError, ThreadDeleted):
            return
        finally:
            subscription.close()

    def _take(self, delivery: Delivery) -> None:
        match delivery:
            case ShowLogged(entry):
                self._cursor = entry.log_index
            case ShowReset(_, attempt, _):
                if attempt < self._attempt:
                    self.wrong.append(f"attempt {attempt} came after {self._attempt}")
                self._attempt, self._place = attempt, 0
            case ShowText() | ShowTool() | ShowStep():
                self._part(delivery.attempt, delivery.part, delivery.part.offset + delivery.sides)

    def _part(self, attempt: int, part: Any, place: int) -> None:
        if attempt != self._attempt or place > self._place:  # a replica that is behind says again what was said
            self.wrong.append(f"attempt {attempt} went on at {place}, and {self._attempt} was known to {self._place}")
        said = said_in(part.method, part.data) if isinstance(part, StepPart) and part.data is not None else None
        if isinstance(part, TextPart) or said is not None:
            text = part.text if said is None else said.text
            encoded = text.encode("utf-16-le")
            about = "" if said is None else f"{part.method} of {said.message_id} at {part.offset}: "
            cells = [about + encoded[at : at + 2].hex() for at in range(0, len(encoded), 2)]
            assert len(cells) == units(text)
        else:
            cells = [repr(msgspec.structs.replace(part, data=None))]
        for number, cell in enumerate(cells, place):
            known = self._known.setdefault((attempt, number), cell)
            if known != cell:
                self.wrong.append(f"at {number} of attempt {attempt} stands {cell}, and there stood {known}")
        self._attempt, self._place = attempt, max(self._place, place + len(cells))
