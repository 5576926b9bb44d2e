"""What an agent's code may do to the process that it runs in: fail its turn, and no more.

A node that calls `sys.exit` (an argument parser in a tool does) would end the event loop: asyncio lets SystemExit and
KeyboardInterrupt out of any task, and LangGraph runs nodes and tools in tasks of their own. A synchronous node that
never returns keeps its thread for ever, and six of those would take every thread that the loop has, down to the one
that looks up the database's address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, Final, ParamSpec, TypeVar
from weakref import WeakSet

MOST_THREADS: Final = 256
"""For synchronous nodes and tools; those of abandoned attempts count until they return. Beyond, calls wait."""

P = ParamSpec("P")
T = TypeVar("T")


class Work:
    """What one piece of an agent's code has given to threads."""

    def __init__(self) -> None:
        self.running: set[Future[Any]] = set()
        self.ended = False

    def add(self, future: Future[Any]) -> None:
        kept = _left if self.ended else self.running
        kept.add(future)
        future.add_done_callback(kept.discard)

    def end(self) -> None:
        """Whatever runs on is left behind, and so is what such code still begins."""
        self.ended = True
        for future in list(self.running):
            self.add(future)


_inside: ContextVar[Work | None] = ContextVar("unbroken_agent_code", default=None)
_left: set[Future[Any]] = set()
_contained: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


class Exited(Exception):
    """An agent's code tried to end the process."""


@contextmanager
def agent_code() -> Iterator[None]:
    """Within, whatever tasks and threads the code begins are contained: exits of theirs become `Exited`, and their
    threads are not those that the rest of the process needs. The task that enters catches its own."""
    _contain(asyncio.get_running_loop())
    work = Work()
    token = _inside.set(work)
    try:
        yield
    finally:
        _inside.reset(token)
        work.end()


def left_behind() -> int:
    """Threads of this process that an agent's code keeps although the attempt it belonged to has ended."""
    return len(_left)


def _contain(loop: asyncio.AbstractEventLoop) -> None:
    if loop in _contained:
        return
    _contained.add(loop)
    loop.set_task_factory(_factory(loop.get_task_factory()))
    loop.set_default_executor(Threads())


def _factory(former: Any) -> Any:
    def task(loop: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None) -> Any:
        inside = _inside.get() if context is None else context.get(_inside)
        work = Contained(coro) if inside and asyncio.iscoroutine(coro) else coro
        if former is None:
            return asyncio.Task(work, loop=loop, context=context)
        return former(loop, work) if context is None else former(loop, work, context=context)

    return task


class Contained(Coroutine[Any, Any, T]):
    """A coroutine that cannot end the event loop. Not an `async def`: one that is cancelled before it began must
    not leave the inner one behind, never awaited."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            raise Exited(_name(error)) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as exit_:
            raise Exited(_name(exit_)) from exit_

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()


class Threads(ThreadPoolExecutor):
    """A loop's default executor, with threads apart for agents' code."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="unbroken")
        self._agents = ThreadPoolExecutor(MOST_THREADS, "unbroken-agent")

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        work = _inside.get()
        if work is not None:
            future = self._agents.submit(fn, *args, **kwargs)
            work.add(future)
            return future
        return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Does not wait for agents' code: nobody knows when it ends."""
        self._agents.shutdown(wait=False, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)


def _name(error: BaseException) -> str:
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
