"""A real collector as a process of its own, and everything that it passed on."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import rotel  # type: ignore[import-untyped]
from msgspec import Struct
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.end_to_end.ports import free_port
from tests.end_to_end.server import environment

PATIENCE_S: Final = 60.0
AGENT: Final = Path(rotel.__file__).with_name("rotel-agent")


class Span(Struct, frozen=True):
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    failed: bool
    status: str
    service: str
    instance: str
    scope: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str, dict[str, Any]]]
    """(trace id, span id, attributes)."""


class Received:
    """What came out at the collector's other end."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: dict[str, str] = {}
        """Name → unit."""
        self.raw: list[bytes] = []

    def until(self, true: Callable[[list[Span]], bool]) -> list[Span]:
        """Wait until it holds for what has come; nothing is concluded from how long it took."""
        deadline = time.monotonic() + PATIENCE_S
        while not true(self.spans):
            assert time.monotonic() < deadline, f"it never came; there is {sorted(span.name for span in self.spans)}"
            time.sleep(0.1)
        return list(self.spans)

    def take_traces(self, body: bytes) -> None:
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = _plain(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans.extend(_span(span, about, scope.scope.name) for span in scope.spans)

    def take_metrics(self, body: bytes) -> None:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                self.metrics |= {metric.name: metric.unit for metric in scope.metrics}


@contextlib.contextmanager
def collector(folder: Path) -> Iterator[tuple[str, Received]]:
    """(endpoint for OTLP over HTTP, what the collector passes on)."""
    received = Received()
    behind = ThreadingHTTPServer(("127.0.0.1", 0), _handler(received))
    thread = threading.Thread(target=behind.serve_forever, daemon=True)
    thread.start()
    http, grpc = free_port(), free_port()
    log = folder / "collector.log"
    command = [
        str(AGENT),
        "start",
        f"--otlp-http-endpoint=127.0.0.1:{http}",
        f"--otlp-grpc-endpoint=127.0.0.1:{grpc}",
        f"--pid-file={folder / 'collector.pid'}",
        "--exporter=otlp",
        f"--otlp-exporter-endpoint=http://127.0.0.1:{behind.server_port}",
        "--otlp-exporter-protocol=http",
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment(), cwd=folder)
    try:
        _until_it_listens(process, http, log)
        yield f"http://127.0.0.1:{http}", received
    finally:
        process.terminate()
        process.wait(30)
        behind.shutdown()
        behind.server_close()
        thread.join()


def exporting_to(endpoint: str, **more: str) -> dict[str, str]:
    """Variables of a server that exports soon."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        **more,
    }


def _until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import socket

    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the collector ended: {log.read_text()}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the collector does not listen: {log.read_text()}")


def _handler(received: Received) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            if self.path.endswith("traces"):
                received.take_traces(body)
            else:
                received.take_metrics(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler


def _span(span: Any, about: dict[str, Any], scope: str) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        failed=span.status.code == 2,
        status=span.status.message,
        service=about.get("service.name", ""),
        instance=about.get("service.instance.id", ""),
        scope=scope,
        attributes=_plain(span.attributes),
        events=[(event.name, _plain(event.attributes)) for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex(), _plain(link.attributes)) for link in span.links],
    )


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind and kind not in ("array_value", "kvlist_value") else str(value)
