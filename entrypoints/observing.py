"""Whether telemetry is on, and what of the container is then wrapped. Off, nothing here imports OpenTelemetry, and the
container's objects are the bare ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from unbroken.adapters.memory.store import MemoryStore
from unbroken.adapters.postgres.store import PostgresStore
from unbroken.domain.errors import InvalidValue
from unbroken.entrypoints.container import Container
from unbroken.entrypoints.settings import Settings

if TYPE_CHECKING:
    from unbroken.adapters.telemetry.gauges import Gauges
    from unbroken.adapters.telemetry.providers import Providers
    from unbroken.adapters.telemetry.telemetry import Telemetry

LAST_EXPORT_S: Final = 2.0
EXPORTERS: Final = {
    "TRACES": ("otlp", "console", "none"),
    "METRICS": ("otlp", "prometheus", "console", "none"),
}
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
OVER_HTTP: Final = "http/protobuf"


def exporter(signal: str, environment: Mapping[str, str] = os.environ) -> str:
    """What exports TRACES or METRICS. An endpoint alone means `otlp`. Raises InvalidValue for what we do not have."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    kind = environment.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    if kind and kind not in EXPORTERS[signal]:
        raise InvalidValue(f"OTEL_{signal}_EXPORTER", f"{kind!r} is none of {', '.join(EXPORTERS[signal])}")
    if not kind:
        named = (f"OTEL_EXPORTER_OTLP_{part}ENDPOINT" for part in ("", f"{signal}_"))
        kind = "otlp" if any(environment.get(name) for name in named) else "none"
    protocol = environment.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or environment.get(PROTOCOL) or OVER_HTTP
    if kind == "otlp" and protocol != OVER_HTTP:
        raise InvalidValue(PROTOCOL, f"{protocol!r} is not supported: {OVER_HTTP}, usually on port 4318")
    return kind


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Raises InvalidValue, as `exporter` does."""
    found = [exporter(signal, environment) for signal in EXPORTERS]  # each of them: none may be wrong
    return any(kind != "none" for kind in found)


def providers(instance: str) -> Providers:
    """Set up for this process, whose models, tools and queries tell of themselves from now on. Raises InvalidValue."""
    from unbroken.adapters.telemetry.providers import Providers  # noqa: PLC0415 — only where it is wanted

    made = Providers(traces=exporter("TRACES"), metrics=exporter("METRICS"), instance=instance)
    made.instrument()
    return made


def observe(container: Container, telemetry: Telemetry) -> None:
    """Wrap the ports whose calls are parts of a story, and the use cases at which one begins, runs and arrives."""
    from unbroken.adapters.telemetry import accepting, acknowledging, agents, attempts, delivering  # noqa: PLC0415

    written = acknowledging.Written()
    container.agents.override(agents.ObservedAgents(container.agents(), telemetry))
    container.event_store.override(accepting.ObservedEventStore(container.event_store()))
    container.unit_of_work.override(attempts.ObservedUnitOfWork(container.unit_of_work(), telemetry))
    container.outbox.override(acknowledging.ObservedOutbox(container.outbox(), telemetry, written))
    container.effect_runner.set_provides(acknowledging.ObservedEffectRunner)
    container.accept.set_provides(partial(accepting.ObservedAccept, telemetry))
    container.processor.set_provides(partial(attempts.ObservedProcessor, telemetry))
    container.subscribe.set_provides(partial(delivering.ObservedSubscribe, telemetry, written))


def gauges(container: Container, telemetry: Telemetry, store: MemoryStore | PostgresStore) -> Gauges:
    """What stands still at a moment; its loop looks at the store from time to time."""
    from unbroken.adapters.telemetry.gauges import Gauges, PoolUse  # noqa: PLC0415

    settings: Settings = container.settings()
    pool = store.pool if isinstance(store, PostgresStore) else None

    def use() -> PoolUse:
        assert pool is not None
        return PoolUse(pool.checked_out(), pool.connected() - pool.checked_out(), settings.pool_size)

    return Gauges(
        telemetry.meter,
        store.backlogs,
        replica=container.replica_id(),
        lease_ttl_s=settings.lease_ttl_s,
        pool=use if pool is not None else None,
        abandoned=lambda: container.processor().abandoned,
    )


async def stop(made: Providers) -> None:
    """Export what is left, without keeping the loop, or anybody for long."""
    await asyncio.to_thread(made.stop, LAST_EXPORT_S)
