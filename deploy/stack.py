"""What compose.yaml starts, without containers: PostgreSQL, NATS, three replicas and the proxy, on loopback.

    python deploy/stack.py --agent support=agents/support.py:graph

The door is http://127.0.0.1:8080. Ctrl-C or SIGTERM ends everything; SIGHUP starts the replicas anew, one after
another, each ready before the next one goes. PostgreSQL is the embedded one, and its data stays in `--data-dir`;
what the others say is in `--data-dir`/logs. HAProxy must be installed (Debian: apt-get install haproxy); NATS comes
with the `dev` packages, and without it hints go through PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

from unbroken.adapters.postgres.embedded import EmbeddedPostgres

REPLICAS: Final = ("replica-1", "replica-2", "replica-3")
PROXY_CONFIGURATION: Final = Path(__file__).with_name("haproxy.cfg")
START_LIMIT_S: Final = 180.0
STOP_LIMIT_S: Final = 60.0
PAUSE_S: Final = 0.1


class Gone(Exception):
    """Something ended, or did not get ready; its name, and where it said why."""


class Told(Exception):
    """To stop."""


class Program:
    """A child with a log of its own, asked to end when the block ends, and made to if it does not."""

    def __init__(self, name: str, argv: list[str | Path], environment: dict[str, str], logs: Path) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_until(self, path: str, port: int) -> None:
        """Until it answers there with 200. Raises Gone."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and not self.ended():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    return
            except OSError:
                time.sleep(PAUSE_S)
        raise Gone(f"{self.name} is not ready; see {self.log}")


class Stack:
    def __init__(self, port: int, data_dir: Path, arguments: list[str]) -> None:
        self._port = port
        self._data_dir = data_dir
        self._logs = data_dir / "logs"
        self._arguments = arguments
        self._ports = dict(zip(REPLICAS, _free_ports(len(REPLICAS)), strict=True))
        self._common: dict[str, str] = {}
        self._replicas: dict[str, Program] = {}
        self._others: list[Program] = []
        self._to_start_anew = False

    def run(self) -> None:
        """Until it is told to stop. Raises Told, or Gone if something ends by itself."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        with ExitStack() as stack:
            self._common["DATABASE_URL"] = stack.enter_context(EmbeddedPostgres(self._data_dir)).url
            stack.callback(self._stop)
            self._start_bus()
            for name in REPLICAS:
                self._start_replica(name)
            self._start_proxy()
            _say(f"http://127.0.0.1:{self._port} is the door; logs are in {self._logs}")
            self._watch()

    def _start_bus(self) -> None:
        program = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        if program is None:
            _say("there is no nats-server: hints go through PostgreSQL")
            return
        port, monitoring = _free_ports(2)
        argv: list[str | Path] = [program, "--addr", "127.0.0.1", "--port", str(port), "--http_port", str(monitoring)]
        self._others.append(Program("nats", argv, {}, self._logs))
        self._others[-1].wait_until("/healthz", monitoring)
        self._common["UNBROKEN_BUS_URL"] = f"nats://127.0.0.1:{port}"

    def _start_replica(self, name: str) -> None:
        unbroken = Path(sys.executable).with_name("unbroken")
        argv: list[str | Path] = [unbroken, "serve", "--port", str(self._ports[name]), *self._arguments]
        self._replicas[name] = Program(name, argv, self._common | {"UNBROKEN_REPLICA_NAME": name}, self._logs)
        self._replicas[name].wait_until("/health/ready", self._ports[name])

    def _start_proxy(self) -> None:
        program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise Gone("HAProxy is not installed (Debian: apt-get install haproxy)")
        addresses = {f"REPLICA_{n}": f"127.0.0.1:{self._ports[name]}" for n, name in enumerate(REPLICAS, 1)}
        environment = {"LISTEN": f"127.0.0.1:{self._port}"} | addresses
        self._others.append(Program("proxy", [program, "-db", "-f", PROXY_CONFIGURATION], environment, self._logs))
        self._others[-1].wait_until("/health/ready", self._port)

    def _watch(self) -> None:
        while True:
            if self._to_start_anew:
                self._to_start_anew = False
                self._start_anew()
            for program in (*self._replicas.values(), *self._others):
                if program.ended():
                    raise Gone(f"{program.name} ended; see {program.log}")
            time.sleep(PAUSE_S)

    def _start_anew(self) -> None:
        for name in REPLICAS:
            self._replicas[name].stop()
            self._start_replica(name)
            _say(f"{name} is new")

    def _stop(self) -> None:
        for program in (*reversed(self._others), *self._replicas.values()):
            program.stop()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._to_start_anew = True
            return
        for other in (signal.SIGTERM, signal.SIGINT):
            signal.signal(other, signal.SIG_IGN)  # once is enough: what runs is stopped in order
        raise Told


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _say(line: str) -> None:
    sys.stderr.write(f"stack: {line}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="PostgreSQL, NATS, three replicas and a proxy on loopback.")
    parser.add_argument("--port", type=int, default=8080, help="of the door")
    parser.add_argument("--data-dir", type=Path, default=Path(".unbroken-stack"))
    given, rest = parser.parse_known_args()  # the rest is for `unbroken serve`
    try:
        Stack(given.port, given.data_dir, rest).run()
    except Told:
        _say("stopped")
    except Gone as gone:
        _say(str(gone))
        sys.exit(1)


if __name__ == "__main__":
    main()
