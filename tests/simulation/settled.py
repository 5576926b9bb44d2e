"""Whether a world has come to rest: everything said has its end, everybody was told, and whoever left is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.checker.history import Violation

if TYPE_CHECKING:
    from tests.simulation.client import Device
    from tests.simulation.world import World


def unsettled(world: World) -> str:
    """What is still under way, in words; empty: nothing."""
    if world.loop.time() < max((fault.until for fault in world.nemesis.faults), default=0.0):
        return "something may still happen that was begun by a fault"
    for user in world.users:
        if not user.done:
            return f"{user.thread_id}: its user still speaks"
    for caller in world.callers:
        if not caller.done:
            return f"{caller.thread_id}: somebody still starts runs"
    return next(filter(None, (_untold(world, device) for device in world.devices)), "") or _unended(world)


def left_over(world: World) -> list[Violation]:
    """I12: whoever is gone is forgotten."""
    return [
        Violation("I12", world.threads[0], f"{replica.name} still holds {held}")
        for replica in world.replicas
        if replica.service is not None and any((held := replica.held()).values())
    ]


def _untold(world: World, device: Device) -> str:
    """What a device waits for."""
    session = world.database.sessions.get(device.thread_id)
    owner = session is not None and session.key.user_id == device.user_id
    if device.turned_away is not None:
        return f"{device.name}: turned away with {device.turned_away}" if owner else ""
    if device.unsent:
        return f"{device.name}: no answer to {list(device.unsent)}"
    if session is None or not owner or device.cursor in (None, session.log_index):
        return ""
    return f"{device.name}: shows the log up to {device.cursor} of {session.log_index}"


def _unended(world: World) -> str:
    for thread_id, session in world.database.sessions.items():
        if session.waiting:
            return f"{thread_id}: event {session.applied_seq + 1} of {session.last_seq} has no end"
        if session.owed:
            return f"{thread_id}: effects {session.owed} are not executed"
        if session.armed:
            return f"{thread_id}: a timer has not fired"
    return ""
