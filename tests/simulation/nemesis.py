"""Faults: each is drawn with the state of a turn at which it strikes, and strikes there if that state comes in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tests.checker.history import Fault
from tests.simulation.database import FATES, LATE_S
from tests.simulation.loop import Actor
from tests.simulation.network import PING_S
from tests.simulation.replica import LEASE_S, SETTINGS, Replica
from tests.simulation.states import STATES, State

if TYPE_CHECKING:
    from tests.simulation.world import World

KINDS: Final = (
    *("kill", "kill", "kill", "stall", "stall", "restart", "outage", "partition", *FATES),
    *("cut", "silence", "slow_reader", "hints_lost", "hints_doubled", "clock_jump", "slow_store", "elsewhere"),
)
LAPSING: Final = ("outage", "partition")
"""May last longer than a lease."""
COSTLY: Final = frozenset({"kill", "stall", "restart", *LAPSING, "slow_store", *FATES})
"""An attempt may be lost by them."""
WORKED: Final = (
    *("accept", "commit", "commit", "commit", "claim", "release", "cancel", "view", "load", "read", "schedule"),
)
"""Operations of the store that mishaps are aimed at."""
PATIENCE_S: Final = 1.0
STALLS_S: Final = (0.05, 0.3, 1.5 * LEASE_S, 2.5 * LEASE_S, 3.5 * LEASE_S)
"""The longest: another one takes over, and is done or in the middle of it."""


class Aim(Struct):
    kind: str
    state: State
    after_s: float
    armed: bool = False


class Nemesis:
    def __init__(self, world: World, random: Random, faults: int) -> None:
        self._world = world
        self._random = random
        self._aims = [
            Aim(random.choice(KINDS), random.choice(STATES), random.random() * world.active_s) for _ in range(faults)
        ]
        self.struck: Counter[tuple[str, str]] = Counter()
        """By kind, and the state of a turn that it met."""
        self.faults: list[Fault] = []
        self._marked: dict[str, tuple[str, str]] = {}
        """Processes that are about to die or stall, which of both, and the thread because of which."""
        self._over = False
        self._striking = False

    def begin(self) -> None:
        for aim in self._aims:
            self._world.loop.later(aim.after_s, self._arm, aim)
        self._world.database.on_mishap = self._mishap

    def changed(self, thread_id: str) -> None:
        """A turn has come to another state."""
        if self._over or self._striking:
            return
        state = None
        for aim in self._aims:
            if aim.armed:
                state = state or self._world.turns.state(thread_id)
                if aim.state == state:
                    aim.armed = False
                    self._strike(aim.kind, thread_id)
                    return

    def model(self, trouble: str, thread_id: str) -> None:
        """The model has its own ways to fail."""
        self.struck[f"model_{trouble}", self._world.turns.state(thread_id)] += 1

    def heal(self) -> None:
        """No more faults; what was broken works again, what was down comes up. Who stalls thaws in its own time."""
        self._over = True
        world = self._world
        world.database.down = False
        world.database.cut_off.clear()
        world.database.mishap_rate = 0.0
        world.database.slowness = 1.0
        world.database.next_fates.clear()
        world.bus.lost = world.bus.doubled = world.bus.rough = 0.0
        world.bus.delay_s = 0.002
        for replica in world.replicas:
            replica.actor.fuse = 0
            replica.boot()
        for device in world.devices:
            device.reads = True
            device.home = None

    def strike_once_more(self) -> None:
        """So that nobody gets away without trouble."""
        self._strike("cut", self._random.choice(self._world.threads))

    def _arm(self, aim: Aim) -> None:
        """From now on its state is waited for; after a while any will do."""
        if self._over:
            return
        thread_id = self._random.choice(self._world.threads)
        if self._world.turns.state(thread_id) == aim.state:
            self._strike(aim.kind, thread_id)
            return
        aim.armed = True
        self._world.loop.later(PATIENCE_S, self._give_up, aim)

    def _give_up(self, aim: Aim) -> None:
        if aim.armed and not self._over:
            aim.armed = False
            self._strike(aim.kind, self._random.choice(self._world.threads))

    def _strike(self, kind: str, thread_id: str) -> None:
        self._striking = True
        try:
            if kind in FATES:
                operation = self._random.choice(WORKED)
                self._world.database.next_fates[operation] = kind
                return  # counted when it happens
            if kind == "kill" or (kind == "stall" and self._random.random() < 0.5):
                self._light(kind, thread_id)
                return
            self._note(kind, thread_id, _STRIKES[kind](self, thread_id))
        finally:
            self._striking = False

    def _note(self, kind: str, thread_id: str, until: float, replica: str = "") -> None:
        self.struck[kind, self._world.turns.state(thread_id)] += 1
        now = self._world.loop.time()
        self.faults.append(Fault(kind, now, until, replica, "", costs_attempts=kind in COSTLY))
        if kind in LAPSING:  # one attempt may be lost for what it keeps from the store, and one for a lease
            self.faults.append(self.faults[-1])

    def burnt(self, process: Actor) -> bool:
        """What a process was marked for has come. True: it dies in this moment, False: it stalls."""
        kind, thread_id = self._marked.pop(process.name)
        if kind == "kill":
            self._note(kind, thread_id, self._world.loop.time() + 1.0, process.name)
            self._in_pairs()
            return True
        self._note(kind, thread_id, self._stall(process))
        return False

    def _mishap(self, fate: str, operation: str, replica: str) -> None:
        threads = self._world.threads
        thread_id = next((id_ for id_ in threads if self._world.turns.state(id_) != "quiet"), threads[0])
        self._note(fate, thread_id, self._world.loop.time() + LATE_S, replica)
        if fate == "store_late":  # what it counts runs nowhere, and fences out what runs
            self.faults.append(self.faults[-1])

    # What each does; returns when it will be over, an attempt that it costs included

    def _victim(self, thread_id: str) -> Replica:
        owner = self._world.turns.owner(thread_id)
        for replica in self._world.replicas:
            if replica.actor is owner:
                return replica
        return self._random.choice(self._world.replicas)

    def _light(self, kind: str, thread_id: str) -> None:
        """A process dies or stalls some steps from now, wherever it is then."""
        victim = self._victim(thread_id)
        if victim.actor.dead:
            victim.boot()
        else:
            victim.actor.fuse = 1 + int(self._random.random() ** 2 * 60)
            self._marked[victim.actor.name] = kind, thread_id

    def _in_pairs(self) -> None:
        """Whoever takes over from a process that is gone may stall in the middle of it."""
        if self._random.random() < 0.8:
            self._aims.append(Aim("stall", "looking", 0.0, armed=True))

    def _stall(self, victim: Actor) -> float:
        seconds = self._random.choice(STALLS_S)
        self._world.loop.stall(victim)
        self._world.loop.later(seconds, self._thaw, victim)
        if seconds > LEASE_S:
            self._in_pairs()
            self._world.loop.later(PING_S * (0.3 + 0.7 * self._random.random()), self._missed, victim)
        return self._world.loop.time() + seconds + 1.0

    def _missed(self, victim: Actor) -> None:
        """Some of those who are connected to a process that does not answer turn to another one."""
        if victim.stalled:
            for replica in self._world.replicas:
                for line in replica.lines if replica.actor is victim else ():
                    if not line.closed and self._random.random() < 0.7:
                        line.cut()

    def _thaw(self, victim: Actor) -> None:
        """Where it goes on, with whatever it holds, some turn up at once."""
        self._world.loop.thaw(victim)
        if not victim.dead and self._random.random() < 0.5:
            thread_id = self._random.choice(self._world.threads)
            self._note("elsewhere", thread_id, self._come(thread_id, victim.name.partition("#")[0]))

    def _restart(self, thread_id: str) -> float:
        self._victim(thread_id).stop()
        return self._world.loop.time() + SETTINGS.drain_s + 1.0

    def _outage(self, thread_id: str) -> float:
        return self._for_a_while(lambda on: setattr(self._world.database, "down", on))

    def _partition(self, thread_id: str) -> float:
        name = self._victim(thread_id).name
        cut_off = self._world.database.cut_off
        return self._for_a_while(lambda on: cut_off.add(name) if on else cut_off.discard(name))

    def _slow_store(self, thread_id: str) -> float:
        return self._for_a_while(lambda on: setattr(self._world.database, "slowness", 30.0 if on else 1.0))

    def _hints_lost(self, thread_id: str) -> float:
        share = 1.0 if self._world.seed % 2 else 0.8  # all of them: the bus is cut
        return self._for_a_while(lambda on: setattr(self._world.bus, "lost", share if on else 0.0))

    def _hints_doubled(self, thread_id: str) -> float:
        def change(on: bool) -> None:
            self._world.bus.doubled = 0.7 if on else 0.0
            self._world.bus.delay_s = 0.5 if on else 0.002

        return self._for_a_while(change)

    def _clock_jump(self, thread_id: str) -> float:
        hours = self._random.choice((-3600.0, -60.0, 60.0, 3600.0))
        if self._random.random() < 0.3:
            self._world.database_actor.skew_s = hours
        else:
            self._victim(thread_id).skew(hours)
        return self._world.loop.time()

    def _cut(self, thread_id: str) -> float:
        for line in self._lines(thread_id):
            line.cut()
        return self._world.loop.time()

    def _silence(self, thread_id: str) -> float:
        for line in self._lines(thread_id):
            line.fall_silent()
        return self._world.loop.time() + 2.5

    def _slow_reader(self, thread_id: str) -> float:
        device = self._random.choice([device for device in self._world.devices if device.thread_id == thread_id])
        device.reads = False
        seconds = self._random.choice((0.1, 0.5, 2.0 * SETTINGS.reader_stall_s))
        self._world.loop.later(seconds, setattr, device, "reads", True)
        return self._world.loop.time() + seconds

    def _elsewhere(self, thread_id: str) -> float:
        """The thread's devices come back to another replica."""
        return self._come(thread_id, self._random.choice(self._world.replicas).name)

    def _come(self, thread_id: str, home: str) -> float:
        for device in self._world.devices:
            if device.thread_id == thread_id:
                device.home = home
        return self._cut(thread_id)

    def _lines(self, thread_id: str) -> list:  # type: ignore[type-arg]
        wanted = f"threadId={thread_id}&".encode()
        lines = [
            line
            for replica in self._world.replicas
            for line in replica.lines
            if not line.closed and wanted in line.server.scope["query_string"] + b"&"
        ]
        return [line for line in lines if self._random.random() < 0.7] or lines[:1]

    def _for_a_while(self, change: Callable[[bool], object]) -> float:
        seconds = self._random.choice((0.05, 0.3, 1.0, 2.0))
        change(True)

        def end() -> None:
            if not self._over:
                change(False)

        self._world.loop.later(seconds, end)
        return self._world.loop.time() + seconds + LEASE_S


_STRIKES: Final[dict[str, Callable[[Nemesis, str], float]]] = {
    "stall": lambda nemesis, thread_id: nemesis._stall(nemesis._victim(thread_id).actor),
    "restart": Nemesis._restart,
    "outage": Nemesis._outage,
    "partition": Nemesis._partition,
    "slow_store": Nemesis._slow_store,
    "hints_lost": Nemesis._hints_lost,
    "hints_doubled": Nemesis._hints_doubled,
    "clock_jump": Nemesis._clock_jump,
    "cut": Nemesis._cut,
    "silence": Nemesis._silence,
    "slow_reader": Nemesis._slow_reader,
    "elsewhere": Nemesis._elsewhere,
}
