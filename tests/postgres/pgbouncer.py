"""PgBouncer in transaction mode, in front of a server of the tests'."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.end_to_end.ports import free_port

SERVERS = 5
"""Connections that it keeps to the server: fewer than its clients have, so that they really share them."""
START_LIMIT_S = 60.0

SETTINGS = """
[databases]
* = host=127.0.0.1 port={port} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {servers}
max_client_conn = 500
ignore_startup_parameters = {ignored}
{user_line}
"""


class PgBouncer:
    """`with PgBouncer(folder, server_url) as pooler:` answers inside the block, for every database of the server."""

    def __init__(
        self, folder: Path, server_url: str, *, servers: int = SERVERS, mode: str = "transaction", ignored: str = ""
    ) -> None:
        """`ignored`: settings that may be named at a connection's start, and then count for nothing."""
        parts = urlsplit(server_url)
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=folder))
        self._folder.chmod(0o755)
        self._settings = SETTINGS.format(
            port=parse_qs(parts.query)["port"][0],
            user=parts.username,
            password=parts.password,
            own_port=self._port,
            mode=mode,
            servers=servers,
            ignored=ignored,
            user_line="user = nobody" if os.geteuid() == 0 else "",  # it refuses to run as root
        )
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://anybody@127.0.0.1:{self._port}/{database}"

    def said(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        assert program, "this is tested behind PgBouncer, which is not installed (Debian: apt-get install pgbouncer)"
        settings = self._folder / "pgbouncer.ini"
        settings.write_text(self._settings)
        settings.chmod(0o644)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, settings], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"PgBouncer ended: {self.said()}"
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise AssertionError(f"PgBouncer does not answer: {self.said()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
