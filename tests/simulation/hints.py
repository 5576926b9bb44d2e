"""Hints and messages between the replicas of the world: lost, doubled, late, in any order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, TypeVarTuple, Unpack

from tests.simulation.loop import Actor, SimulatedLoop, actor
from unbroken.domain.ports.peers import MAX_MESSAGE_BYTES, Peers
from unbroken.domain.ports.wakeups import Wakeups

Ts = TypeVarTuple("Ts")

LIES: Final = 0.1
"""Share of announcements."""


class Bus:
    """What carries hints and messages from one replica to the others."""

    def __init__(self, loop: SimulatedLoop, random: Random, *, crosses: bool) -> None:
        """`crosses`: whether anything leaves the replica that gives it at all."""
        self.loop = loop
        self.crosses = crosses
        self._random = random
        self._members: list[Member] = []
        self.lost = self.doubled = 0.0
        """Shares of hints and messages."""
        self.delay_s = 0.002
        self.rough = 0.2
        """Share of messages that are lost, doubled or late even while nothing else is wrong."""

    def join(self, replica: int) -> Member:
        """For the process whose code calls this."""
        member = Member(self, replica, actor())
        self._members = [known for known in self._members if not known.owner.dead]
        self._members.append(member)
        return member

    def others(self, giver: Member) -> list[Member]:
        return [member for member in self._members if member is not giver and not member.owner.dead]

    def lies(self) -> bool:
        """Whether a session is said to be free that may not be: nothing of what is told is believed."""
        return self._random.random() < LIES

    def carry(self, taker: Member, deliver: Callable[[Unpack[Ts]], None], *what: *Ts) -> None:
        if self.crosses and self._random.random() >= self.lost:
            for _ in range(2 if self._random.random() < self.doubled else 1):
                delay_s = self._random.random() * self.delay_s
                self.loop.call_at(self.loop.time() + delay_s, deliver, *what, context=taker.owner.context)

    def send(self, taker: Member, deliver: Callable[[bytes], None], message: bytes) -> None:
        """A message; unlike a hint it is one of many that belong together."""
        trouble = self._random.random() / self.rough if self.rough else 1.0
        if trouble < 0.4:
            return
        self.carry(taker, deliver, message)
        if trouble < 0.7:
            self.carry(taker, deliver, message)
        elif trouble < 1.0:
            late_s = 0.1 * self._random.random()
            self.loop.call_at(self.loop.time() + late_s, deliver, message, context=taker.owner.context)


class Member(Wakeups, Peers):
    """One process's end."""

    def __init__(self, bus: Bus, replica: int, owner: Actor) -> None:
        self.replica = replica
        self.owner = owner
        self.on_hint: list[Callable[[str], None]] = []
        self.on_overheard: list[Callable[[str, bool], None]] = []
        self.on_message: list[Callable[[bytes], None]] = []
        self._bus = bus

    def hint(self, thread_id: str, *, free: bool = False) -> None:
        for on_hint in self.on_hint:
            self._bus.loop.call_soon(on_hint, thread_id, context=self.owner.context)
        self.announce(thread_id, free=free)

    def announce(self, thread_id: str, *, free: bool = False) -> None:
        free = free or self._bus.lies()
        for member in self._bus.others(self):
            for on_overheard in member.on_overheard:
                self._bus.carry(member, on_overheard, thread_id, free)

    def listen(self, on_hint: Callable[[str], None], on_overheard: Callable[[str, bool], None]) -> None:
        self.on_hint.append(on_hint)
        self.on_overheard.append(on_overheard)

    @property
    def reachable(self) -> bool:
        return self._bus.crosses

    def send(self, replica: int, message: bytes) -> None:
        assert len(message) <= MAX_MESSAGE_BYTES
        for member in self._bus.others(self):
            if member.replica == replica:
                for on_message in member.on_message:
                    self._bus.send(member, on_message, message)

    def receive(self, on_message: Callable[[bytes], None]) -> None:
        self.on_message.append(on_message)
