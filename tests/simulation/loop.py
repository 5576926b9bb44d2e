"""Who runs next, and what time it is: decided by the seed alone.

An actor is a process of the simulated world. Its own steps run in the order in which they became ready, as on any
event loop; between actors the seed chooses. Time stands still while anybody can run, and then jumps to the next
timer. An actor that is stalled keeps its steps, one that is dead loses them and whatever it would have done.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events, futures
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, Final, TypeVarTuple, Unpack

from unbroken.domain.ports.clock import Clock

Ts = TypeVarTuple("Ts")

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
MOST_STEPS: Final = 400_000
"""Of one seed; beyond, somebody turns in a circle."""


class Stuck(Exception):
    """Nobody can run and nothing will come, or they turn in a circle."""


class Actor:
    __slots__ = ("context", "dead", "fuse", "name", "ready", "skew_s", "stalled")

    def __init__(self, name: str, *, skew_s: float = 0.0) -> None:
        self.name = name
        self.ready: deque[Step] = deque()
        self.dead = False
        self.stalled = False
        self.fuse = 0
        """Steps until `SimulatedLoop.on_fuse` is called; 0: never."""
        self.skew_s = skew_s
        """How far its wall clock is off."""
        self.context = Context()
        self.context.run(_actor.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}>"


_wake_sleeper: Final[Callable[..., object]] = futures._set_result_unless_cancelled  # type: ignore[attr-defined]
"""What ends `asyncio.sleep`."""
_actor: ContextVar[Actor] = ContextVar("simulated_actor")


def actor() -> Actor:
    """Whose code this is."""
    return _actor.get()


class Step:
    """What asyncio calls a handle, without what only a debugged loop needs: half a million are made a minute."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_when")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._when = when
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._args = ()

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when

    def __repr__(self) -> str:
        return f"<{self._callback!r} of {self._args!r}>"


class SimulatedFuture(asyncio.Future[Any]):
    """Its place in a set does not depend on its address."""

    owner: Actor | None = None
    """Whose code made it."""
    _serial = 0

    def __hash__(self) -> int:
        if not self._serial:
            self._serial = next(self.get_loop().serials)  # type: ignore[attr-defined]
        return self._serial


class SimulatedTask(asyncio.Task[Any]):
    def __init__(self, coroutine: Any, *, loop: SimulatedLoop, context: Context | None = None) -> None:
        self._serial = next(loop.serials)
        super().__init__(coroutine, loop=loop, context=context)
        self._log_destroy_pending = False  # whoever dies leaves its tasks pending

    def __hash__(self) -> int:
        return self._serial


class SimulatedLoop(asyncio.BaseEventLoop):
    def __init__(self, random: Random) -> None:
        super().__init__()
        self.world = Actor("world")
        self.steps = 0
        self.serials = count(1)
        self.on_fuse: Callable[[Actor], None] = lambda _: None
        self.untaken: list[dict[str, Any]] = []
        """Exceptions that nobody took."""
        self._choose = random.random
        self._now = 0.0
        self._runnable: list[Actor] = []
        self._timers: list[tuple[float, int, Step, Actor]] = []
        self._order = count()
        self.set_exception_handler(self._take)
        self.set_task_factory(lambda _, coroutine, context=None: SimulatedTask(coroutine, loop=self, context=context))

    def time(self) -> float:
        return self._now

    def create_future(self) -> Any:
        future = SimulatedFuture(loop=self)
        future.owner = _actor.get(None)
        return future

    def call_soon(  # type: ignore[override]
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> Step:
        if context is None:
            context = copy_context()
        step = Step(callback, args, context, self._now)
        self._make_ready(context.get(_actor, self.world), step)
        return step

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> Step:
        if context is None:
            context = copy_context()
        step = Step(callback, args, context, when)
        heapq.heappush(self._timers, (when, next(self._order), step, context.get(_actor, self.world)))
        return step

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> Step:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def spawn(self, owner: Actor, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task of that actor's."""
        return self.create_task(work, context=owner.context.copy())

    def later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        """What the world does by itself, whoever asks for it and may be dead by then."""
        self.call_at(self._now + delay_s, callback, *args, context=self.world.context)

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """There are no threads here: it is done at once."""
        done = self.create_future()
        try:
            done.set_result(function(*args))
        except Exception as error:  # noqa: BLE001 - the caller's
            done.set_exception(error)
        return done

    def stall(self, owner: Actor) -> None:
        owner.stalled = True
        if owner in self._runnable:
            self._runnable.remove(owner)

    def thaw(self, owner: Actor) -> None:
        if owner.stalled:
            owner.stalled = False
            if owner.ready and not owner.dead:
                self._runnable.append(owner)

    def kill(self, owner: Actor) -> None:
        """Not one more step of it; what it sent is on its way all the same."""
        owner.dead = True
        owner.ready.clear()
        if owner in self._runnable:
            self._runnable.remove(owner)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run the world until `work`, a task of the world's own, is done. Raises Stuck."""
        events._set_running_loop(self)
        try:
            task = self.spawn(self.world, work)
            while not task.done():
                if self._runnable:
                    self._step()
                else:
                    self._pass_time()
            return task.result()
        finally:
            events._set_running_loop(None)

    def _step(self) -> None:
        runnable = self._runnable
        index = int(self._choose() * len(runnable)) if len(runnable) > 1 else 0
        owner = runnable[index]
        ready = owner.ready
        step = ready.popleft()
        if not ready:
            runnable[index] = runnable[-1]
            runnable.pop()
        if step._cancelled:
            return
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Stuck(f"more than {MOST_STEPS} steps; {owner} runs {step!r}")
        try:
            step._context.run(step._callback, *step._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as on any loop
            self.untaken.append({"message": f"{step!r} raised", "exception": error})
        if owner.fuse:
            owner.fuse -= 1
            if not owner.fuse:
                self.on_fuse(owner)

    def _pass_time(self) -> None:
        while self._timers:
            when, _, step, owner = heapq.heappop(self._timers)
            if not step._cancelled and not owner.dead:
                if when > self._now:
                    self._now = when
                if step._callback is _wake_sleeper and not owner.stalled:
                    _wake_sleeper(*step._args)  # a step that only makes another one ready: a quarter of all
                else:
                    self._make_ready(owner, step)
                if self._runnable and (not self._timers or self._timers[0][0] > self._now):
                    return
        if not self._runnable:
            raise Stuck("nobody can run, and nothing will come: a wakeup was lost")

    def _make_ready(self, owner: Actor, step: Step) -> None:
        if owner.dead:
            return
        if not owner.ready and not owner.stalled:
            self._runnable.append(owner)
        owner.ready.append(step)

    def _take(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        owner = getattr(context.get("future"), "owner", None)
        if owner is None or not owner.dead:  # the dead had no time to take it
            self.untaken.append(context)


class SimulatedClock(Clock):
    """Of the actor that asks, or of `owner`."""

    def __init__(self, loop: SimulatedLoop, owner: Actor | None = None) -> None:
        self._loop = loop
        self._owner = owner

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time() + (self._owner or actor()).skew_s)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
