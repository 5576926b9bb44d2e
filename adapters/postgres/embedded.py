"""The embedded database: real PostgreSQL without set-up, run by us in a data directory.

    data directory/
      lock               held by the serving process; names it
      postgres/          the cluster: created as a whole, password inside, mode 0700
      postgres-is-at     only where the cluster had to be put elsewhere: its folder (see embedded_account)

It is stopped by `stop`. After a `kill -9` of its starter it lives on, and the next starter adopts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import asyncpg

from unbroken.adapters.postgres.embedded_account import account_for, home_for, pointed_home
from unbroken.adapters.postgres.embedded_binaries import bundled_bin_dir, copied_bin_dir, major_version
from unbroken.adapters.postgres.embedded_cluster import USER, Cluster
from unbroken.adapters.postgres.embedded_errors import AlreadyServed, EmbeddedError
from unbroken.adapters.postgres.embedded_lock import DataDirLock

__all__ = ["AlreadyServed", "EmbeddedError", "EmbeddedPostgres"]

T = TypeVar("T")

DATABASE = "unbroken"
POLL_S = 0.05
FOR_SUPERUSERS = 3


class EmbeddedPostgres:
    """A PostgreSQL server of our own in `data_dir`.

    `bin_dir`: a folder with initdb, pg_ctl and postgres; None: the wheel's. `port`: its TCP port on 127.0.0.1;
    None: a free one, kept while it stays free. `connections`: how many it must have room for, beyond those of its
    superusers. `timeout_s`: the longest wait for a start or a stop.
    All methods block, and may be called with or without a running event loop. Not thread-safe.
    """

    def __init__(
        self,
        data_dir: Path | str,
        bin_dir: Path | str | None = None,
        port: int | None = None,
        *,
        connections: int = 0,
        timeout_s: float = 60.0,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self._bin_dir = Path(bin_dir) if bin_dir is not None else None
        self._fixed_port = port
        self._connections = connections + FOR_SUPERUSERS
        self._timeout_s = timeout_s
        self._lock = DataDirLock(self.data_dir)
        self._cluster: Cluster | None = None

    def start(self) -> str:
        """Start or adopt the server and return the URL of its database, by Unix socket. The data directory is
        ours until `stop`, or until this process ends.

        Raises AlreadyServed if another process has it, EmbeddedError with one line if it cannot be served.
        """
        if sys.platform == "win32":
            raise EmbeddedError("there is no embedded PostgreSQL on Windows: set DATABASE_URL or use --in-memory")
        with _one_line_for(self.data_dir):
            if not self.data_dir.exists():
                self.data_dir.mkdir(parents=True)
                self.data_dir.chmod(0o755)  # under root, another account must be able to enter what we made
            self._lock.acquire()
            cluster: Cluster | None = None
            try:
                cluster = self._ready_cluster()
                if not self._adopted(cluster):
                    known = cluster.listening()
                    port = self._fixed_port or _free_port(known[0] if known else 0)
                    self._launch(cluster, port, cluster.socket_dir())
                port, _ = _listening(cluster)
                _in_own_loop(_ensure_database(cluster))
                self._lock.introduce(port)
            except BaseException as error:
                if cluster is not None and not isinstance(error, Exception):  # Ctrl-C: nothing of ours stays behind
                    with contextlib.suppress(EmbeddedError, OSError):
                        self._end(cluster, immediate=False)
                self._lock.release()  # a server that could not be used but is up is adopted by the next start
                raise
            self._cluster = cluster
        return self.url

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server and free the data directory; does nothing if it is not ours. `immediate`: as in a crash.

        A server that does not end in time is ended the hard way; what was committed is safe either way.
        """
        if self._cluster is None:
            return
        with _one_line_for(self.data_dir):
            self._end(self._cluster, immediate=immediate)
            folder = self._cluster.listening()
            if folder and folder[1] != self._cluster.path:
                shutil.rmtree(folder[1], ignore_errors=True)
        self._cluster = None
        self._lock.release()

    def give_up(self) -> None:
        """Let the server end by itself, as in a crash: nothing committed is lost. Returns at once; may be called from
        any thread, by a process that is about to end."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGQUIT)

    def restart(self, *, immediate: bool = False) -> None:
        """Stop the server, `immediate` as in a crash, and start it again at the same URL."""
        cluster = self._running()
        with _one_line_for(self.data_dir):
            self._end(cluster, immediate=immediate)
            self._launch(cluster, *_listening(cluster))

    def revive(self) -> bool:
        """Start the server again, at the same URL, if it has ended without being stopped by us; whether it had.

        Raises EmbeddedError with one line if it does not start.
        """
        cluster = self._running()
        with _one_line_for(self.data_dir):
            if cluster.postmaster() is not None:
                return False
            self._launch(cluster, *_listening(cluster))
        return True

    def served_url(self) -> str:
        """The URL of the database in `data_dir` that another process serves. Raises EmbeddedError if nobody does."""
        with _one_line_for(self.data_dir):
            home = pointed_home(self.data_dir)
            cluster = Cluster(home, self._bin_dir or Path(), account_for(home / "postgres"))
            if not cluster.exists() or cluster.postmaster() is None:
                raise EmbeddedError(f"no server runs in {self.data_dir}")
            return _url(cluster)

    @property
    def url(self) -> str:
        """The URL of its database by Unix socket; as good for asyncpg and SQLAlchemy as for psql."""
        return _url(self._running())

    @property
    def tcp_url(self) -> str:
        """The same by TCP on 127.0.0.1."""
        return f"postgresql://{USER}:{self._running().password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def port(self) -> int:
        return _listening(self._running())[0]

    @property
    def pid(self) -> int | None:
        """The server's process id; None while it is down."""
        return self._cluster.postmaster() if self._cluster else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ready_cluster(self) -> Cluster:
        account = account_for(pointed_home(self.data_dir) / "postgres")
        home = home_for(self.data_dir, account)
        bin_dir = self._bin_dir or bundled_bin_dir()
        version = major_version(bin_dir)
        if not account.can_enter(bin_dir):
            bin_dir = copied_bin_dir(bin_dir, home)
        cluster = Cluster(home, bin_dir, account)
        if not cluster.exists():
            cluster.create()
        if cluster.major_version != version:
            raise EmbeddedError(
                f"{cluster.path} was made by PostgreSQL {cluster.major_version}, and this is {version}: "
                "dump it with the old one and restore it (docs/operation.md says how), or choose another data directory"
            )
        return cluster

    def _adopted(self, cluster: Cluster) -> bool:
        """Whether a server runs here already, which only a connection proves. One that has just been started or
        is ending is waited for."""
        deadline = time.monotonic() + self._timeout_s
        while (pid := cluster.postmaster()) is not None:
            if _answers(cluster):
                if self._fixed_port in (None, _listening(cluster)[0]) and _room(cluster) >= self._connections:
                    return True
                self._end(cluster, immediate=False)
            elif time.monotonic() > deadline:
                raise EmbeddedError(
                    f"PostgreSQL with pid {pid} holds {cluster.path} and answers nobody: end it, then try again"
                )
            time.sleep(POLL_S)
        return False

    def _launch(self, cluster: Cluster, port: int, folder: Path) -> None:
        cluster.disown_stale_pid()
        deadline = time.monotonic() + self._timeout_s
        while True:
            cluster.listen_on(port, folder, connections=self._connections)
            try:
                return cluster.start(self._timeout_s)
            except EmbeddedError as error:
                if time.monotonic() > deadline:
                    raise
                if "TCP/IP socket" in str(error):
                    if self._fixed_port is not None:
                        raise EmbeddedError(
                            f"port {port} of 127.0.0.1 is taken: choose another for the database"
                        ) from None
                    port = _free_port(0)
                elif "Unix-domain socket" in str(error) and folder == cluster.path:
                    folder = cluster.socket_dir(elsewhere=True)  # some mounted file systems have no sockets
                elif "shared memory block" in str(error):
                    time.sleep(POLL_S)  # the last processes of a killed server are still ending
                else:
                    raise

    def _end(self, cluster: Cluster, *, immediate: bool) -> None:
        modes = ["immediate"] if immediate else ["fast", "immediate"]
        if not any(cluster.stop(mode, self._timeout_s) for mode in modes):
            raise EmbeddedError(f"PostgreSQL with pid {cluster.postmaster()} in {cluster.path} does not stop")

    def _running(self) -> Cluster:
        if self._cluster is None:
            raise EmbeddedError(f"the server in {self.data_dir} has not been started")
        return self._cluster


def _url(cluster: Cluster) -> str:
    port, folder = _listening(cluster)
    return f"postgresql://{USER}:{cluster.password}@/{DATABASE}?host={quote(str(folder))}&port={port}"


def _listening(cluster: Cluster) -> tuple[int, Path]:
    found = cluster.listening()
    if found is None:
        raise EmbeddedError(f"{cluster.path}/unbroken.conf does not say where the server listens")
    return found


def _answers(cluster: Cluster) -> bool:
    """Our password is right and it serves our files: a copied data directory has the original's address."""
    try:
        served = _in_own_loop(_query(cluster, "SELECT current_setting('data_directory')"))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        return False
    return Path(served).resolve() == cluster.path.resolve()


def _room(cluster: Cluster) -> int:
    """Connections that the running server takes."""
    return int(_in_own_loop(_query(cluster, "SELECT current_setting('max_connections')")))


async def _ensure_database(cluster: Cluster) -> None:
    if not await _query(cluster, "SELECT count(*) FROM pg_database WHERE datname = $1", DATABASE):
        await _query(cluster, f"CREATE DATABASE {DATABASE}")


async def _query(cluster: Cluster, sql: str, *arguments: str) -> Any:
    port, folder = _listening(cluster)
    connection = await asyncpg.connect(
        host=str(folder), port=port, user=USER, password=cluster.password, database="postgres", timeout=5
    )
    try:
        return await connection.fetchval(sql, *arguments)
    finally:
        await connection.close()


def _free_port(wanted: int) -> int:
    """`wanted` if it is free, else any free one. Somebody may still take it first: the caller tries again."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on a thread of its own, because the caller may be inside a running loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextlib.contextmanager
def _one_line_for(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise EmbeddedError(f"cannot keep a database in {data_dir}: {error.strerror or error}{where}") from error
