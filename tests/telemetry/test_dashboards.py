"""What dashboard and alerts ask for is what a running service tells, name by name and label by label."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.end_to_end.client import Client
from tests.end_to_end.ports import free_port
from tests.end_to_end.server import Server

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy" / "telemetry"
METRIC = re.compile(r"\b(?:unbroken|gen_ai|db_client)_\w+(?=[{\[)\s]|$)")
SELECTED = re.compile(r"((?:unbroken|gen_ai|db_client)_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
TARGETS = {"instance", "service_instance_id", "le"}
"""Labels that a scrape, or a collector, adds."""
PATIENCE_S = 60.0


def queries() -> Iterator[tuple[str, str]]:
    """(where, query) of every panel and rule."""
    dashboard = json.loads((DEPLOY / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


def metrics_in(query: str) -> set[str]:
    labels = {label.strip() for found in GROUPED.findall(query) for label in found.split(",")}
    return set(METRIC.findall(re.sub(r"\{[^}]*\}|by \([^)]*\)", " ", query))) - labels


def labels_in(query: str) -> set[str]:
    grouped = {label.strip() for found in GROUPED.findall(query) for label in found.split(",")}
    selected = {label for _, found in SELECTED.findall(query) for label in re.findall(r"(\w+)\s*[=!]", found)}
    return (grouped | selected) - TARGETS


Series = dict[str, set[str]]
"""Name → its labels, all series together."""


def scraped(port: int) -> Series:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        text = page.read().decode()
    found: Series = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"(\w+)(\{.*\})?", line).groups()  # type: ignore[union-attr]
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
    return found


async def talk(server: Server) -> None:
    """Something of everything that ordinary days bring: no metric is asked for that only a disaster would make."""
    async with Client(server.url, thread="t", agent="tool", stays=True) as client:
        await client.answered(await client.say("weigh 7 words=3"))
        await client.answered(await client.say("fail=1"))
        client.cut()
        await client.until(lambda c: c.connected > 1)
        await client.answered(await client.say("words=3"))


@pytest.fixture(scope="module")
def told(open_folder: Path) -> Iterator[Callable[[], Series]]:
    port = free_port()
    folder = open_folder / "scraped"
    folder.mkdir(mode=0o755)
    variables = {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
        "UNBROKEN_RETRY_BACKOFF_S": "0.05",
    }
    with Server(folder, environment=variables) as server:
        asyncio.run(talk(server))
        deadline = time.monotonic() + PATIENCE_S
        while "unbroken_queue_depth" not in scraped(port):
            assert time.monotonic() < deadline, "the gauges never came"
            time.sleep(0.1)
        found = scraped(port)
        yield lambda: found


@pytest.mark.parametrize(("where", "query"), list(queries()), ids=lambda part: str(part)[:60])
def test_every_query_asks_for_what_is_told(where: str, query: str, told: Callable[[], Series]) -> None:
    series, metrics = told(), metrics_in(query)
    assert metrics, f"{where} asks for nothing of ours"
    assert metrics <= series.keys(), f"{where}: {sorted(metrics - series.keys())} are not told"
    known = set().union(*(series[name] for name in metrics))
    assert labels_in(query) <= known, f"{where}: no series has {sorted(labels_in(query) - known)}"


def test_every_metric_is_on_the_dashboard_and_in_the_document(told: Callable[[], Series]) -> None:
    asked = {name for _, query in queries() for name in metrics_in(query)}
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in told() if name.startswith("unbroken_")}
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert ours <= shown
    document = (DEPLOY.parents[1] / "docs" / "telemetry.md").read_text()
    names = {name.removesuffix("_total").removesuffix("_seconds") for name in ours}
    written = {name.replace(".", "_") for name in re.findall(r"`(unbroken\.[\w.]+)`", document)}
    assert names <= written


def test_every_alert_is_explained() -> None:
    document = (DEPLOY.parents[1] / "docs" / "telemetry.md").read_text()
    alerts = [where.removeprefix("alert ") for where, _ in queries() if where.startswith("alert ")]
    assert len(alerts) > 5
    assert [alert for alert in alerts if f"`{alert}`" not in document] == []


def test_what_the_compose_file_mounts_is_there() -> None:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    (service,) = compose["services"].values()
    for mount in service["volumes"]:
        assert (DEPLOY / mount.split(":")[0]).exists(), mount
    assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "nobody else looks at it"
    provider = yaml.safe_load((DEPLOY / "dashboards.yaml").read_text())["providers"][0]
    rules = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["rule_files"]
    for inside in (provider["options"]["path"], *rules):
        assert (DEPLOY / Path(inside).name).exists(), inside
