"""One PostgreSQL cluster on disk: made once as a whole, configured at each start, started and stopped by pg_ctl."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

from unbroken.adapters.postgres.embedded_account import Account
from unbroken.adapters.postgres.embedded_errors import EmbeddedError

USER = "unbroken"
PASSWORD_FILE = "unbroken-password"  # noqa: S105
LONGEST_SOCKET_PATH = 103  # macOS has 104 bytes for it, Linux 108, the closing zero included
NO_PROCESS = 2**31 - 2  # above every system's largest process id

LEAST_CONNECTIONS = 100
TUNING = f"""
# For a small machine that also runs the application. Durability settings are PostgreSQL's defaults: all on.
max_connections = {LEAST_CONNECTIONS}
shared_buffers = 128MB
max_wal_size = 512MB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
# One file a weekday, begun anew each week.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
# Where the server listens, and with room for how many: rewritten at each start.
include 'unbroken.conf'
"""


class Cluster:
    """The folder `home`/postgres. Every method but `create` needs it to exist; the caller holds the lock."""

    def __init__(self, home: Path, bin_dir: Path, account: Account) -> None:
        self.home = home
        self.path = home / "postgres"
        self._bin = bin_dir
        self._account = account

    def exists(self) -> bool:
        return (self.path / "PG_VERSION").exists()

    @property
    def major_version(self) -> int:
        return int((self.path / "PG_VERSION").read_text())

    @property
    def password(self) -> str:
        return (self.path / PASSWORD_FILE).read_text().strip()

    def create(self) -> None:
        """Run initdb beside the final place and move the result there in one step: a kill leaves all or nothing."""
        for leftover in self.home.glob("postgres-new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix="postgres-new-", dir=self.home))
        self._account.give(draft)
        password = draft / PASSWORD_FILE
        password.touch(0o600)
        password.write_text(secrets.token_hex(24) + "\n")
        self._account.give(password)
        cluster = draft / "cluster"
        done = self._account.run(
            [
                self._bin / "initdb", f"--pgdata={cluster}", f"--username={USER}", f"--pwfile={password}",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums",
            ],
            timeout_s=180,
        )  # fmt: skip
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed in {self.home}: {_last_line(done.stderr or done.stdout)}")
        with (cluster / "postgresql.conf").open("a") as settings:
            settings.write(TUNING)
        password.rename(cluster / PASSWORD_FILE)
        cluster.rename(self.path)
        draft.rmdir()

    def listen_on(self, port: int, socket_dir: Path, *, connections: int = 0) -> None:
        room = [f"max_connections = {connections}"] if connections > LEAST_CONNECTIONS else []
        lines = ["listen_addresses = '127.0.0.1'", f"port = {port}", f"unix_socket_directories = '{socket_dir}'"]
        file = self.path / "unbroken.conf"
        file.write_text("\n".join([*lines, *room, "unix_socket_permissions = 0700", ""]))
        self._account.give(file)

    def listening(self) -> tuple[int, Path] | None:
        """Port and socket folder of the last start; None before the first."""
        try:
            text = (self.path / "unbroken.conf").read_text()
        except FileNotFoundError:
            return None
        port, folder = re.search(r"^port = (\d+)", text, re.MULTILINE), re.search(r"directories = '(.*)'", text)
        return (int(port[1]), Path(folder[1])) if port and folder else None

    def socket_dir(self, *, elsewhere: bool = False) -> Path:
        """A folder for the Unix socket that only the server's account enters: the cluster itself, or a fresh
        temporary one where the cluster's path is too long, or has a character that a URL's host may not."""
        path = str(self.path)
        fits = len(os.fsencode(path)) + len("/.s.PGSQL.65535") <= LONGEST_SOCKET_PATH
        if fits and not elsewhere and re.fullmatch(r"[A-Za-z0-9/._-]+", path):
            return self.path
        folder = Path(tempfile.mkdtemp(prefix="unbroken-socket-"))
        self._account.give(folder)
        return folder

    def start(self, timeout_s: float) -> None:
        """Returns when the server takes connections. Raises EmbeddedError with the server's own last words."""
        log = self.path / "startup.log"
        log.unlink(missing_ok=True)
        words = self._pg_ctl(["start", "--log=startup.log"], timeout_s)
        if words is not None:
            raise EmbeddedError(f"PostgreSQL did not start: {self._cause(log) or _last_line(words)} (see {log})")

    def stop(self, mode: str, timeout_s: float) -> bool:
        """`fast` ends connections and writes a checkpoint, `immediate` is a crash. Whether it has ended in time."""
        if self.postmaster() is None:
            return True
        return self._pg_ctl(["stop", f"--mode={mode}"], timeout_s) is None or self.postmaster() is None

    def postmaster(self) -> int | None:
        """The running server's process id. `postmaster.pid` alone proves nothing: its process may be gone, or
        its number may belong to another by now."""
        try:
            pid = int((self.path / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("post"):
                return None
            ours = process.uids().real == self.path.stat().st_uid
            return pid if ours and self._works_here(process) else None
        except (FileNotFoundError, ValueError, OverflowError, psutil.NoSuchProcess):
            return None

    def disown_stale_pid(self) -> None:
        """Let the server start although the number in `postmaster.pid` lives on as another process.

        The server itself would refuse. The file is not removed, because its other lines are how the server
        notices orphans of the old one that still hold its shared memory; only the number is made a dead one.
        The socket's lock file holds the same number and nothing else of use.
        """
        if self.postmaster() is not None:
            return
        file = self.path / "postmaster.pid"
        if file.exists():
            _, _, rest = file.read_text().partition("\n")
            file.write_text(f"{NO_PROCESS}\n{rest}")
        for leftover in self.path.glob(".s.PGSQL.*"):
            leftover.unlink()

    def _works_here(self, process: psutil.Process) -> bool:
        try:
            return Path(process.cwd()).resolve() == self.path.resolve()
        except psutil.AccessDenied:
            return True  # root without CAP_SYS_PTRACE cannot look; the connection that follows decides

    def _pg_ctl(self, arguments: list[str], timeout_s: float) -> str | None:
        """None when done, else what it said. PGDATA goes by the environment, because pg_ctl hands what is on its
        command line to a shell. pg_ctl's own limit may not end it, so it has ours besides."""
        try:
            done = self._account.run(
                [self._bin / "pg_ctl", *arguments, "--wait", f"--timeout={max(1, round(timeout_s))}", "--silent"],
                env={"PGDATA": str(self.path)},
                cwd=self.path,
                timeout_s=timeout_s + 5,
            )
        except subprocess.TimeoutExpired:
            return f"pg_ctl {arguments[0]} did not end within {timeout_s:.0f} s"
        return None if done.returncode == 0 else done.stderr or done.stdout

    def _cause(self, startup_log: Path) -> str:
        later = sorted((self.path / "log").glob("*.log"), key=lambda file: file.stat().st_mtime)[-1:]
        for file in [startup_log, *later]:
            if file.exists():
                fatal = [
                    line for line in file.read_text(errors="replace").splitlines() if re.search("FATAL|PANIC", line)
                ]
                if fatal:
                    return re.sub(r"^.*?(FATAL|PANIC):\s*", "", fatal[-1])
        return ""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
