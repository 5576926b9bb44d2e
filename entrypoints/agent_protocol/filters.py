"""Whether a subscription wants an event: channels, and namespaces by prefix and depth."""

from __future__ import annotations

from collections.abc import Sequence

from unbroken.entrypoints.agent_protocol.wire import CHANNELS, CUSTOM, Event, Filter

WATCHED = frozenset({"lifecycle", "input"})


def wants(wanted: Filter, event: Event) -> bool:
    channel = event.channel
    if channel not in wanted.channels and not (channel.startswith(CUSTOM) and "custom" in wanted.channels):
        return False
    namespace = event.params.namespace
    if not wanted.namespaces:
        return True
    return any(
        is_below(namespace, prefix) and (wanted.depth is None or len(namespace) - len(prefix) <= wanted.depth)
        for prefix in wanted.namespaces
    )


def is_below(namespace: Sequence[str], prefix: Sequence[str]) -> bool:
    """Segment by segment; one of the prefix without a task's id (`name`, not `name:id`) stands for all of its tasks."""
    return len(prefix) <= len(namespace) and all(
        wanted in (found, found.partition(":")[0]) for wanted, found in zip(prefix, namespace, strict=False)
    )


def records(wanted: Filter) -> bool:
    """Of a client that keeps everything that happens in a thread, and follows no run of its own by it."""
    return not wanted.namespaces and CHANNELS.issubset(wanted.channels)


def only_watches(wanted: Filter) -> bool:
    """Of a client that keeps an eye on runs beside what it reads of them."""
    return WATCHED.issuperset(wanted.channels)
