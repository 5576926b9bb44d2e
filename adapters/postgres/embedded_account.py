"""Who runs the server, and where its files may lie: PostgreSQL refuses to run as root.

We are an ordinary user: the server runs as us, in the data directory. We are root: it runs as an unprivileged
account, and if that account cannot enter the data directory (a clone below /root, say), the files lie
elsewhere and a pointer in the data directory says where. No existing folder's mode is ever changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from unbroken.adapters.postgres.embedded_errors import EmbeddedError

POINTER = "postgres-is-at"
OUTSIDE = (Path("/var/lib/unbroken"), Path("/var/tmp"))  # noqa: S108  (mkdtemp below makes a private folder there)
ACCOUNTS = ("postgres", "_postgres", "unbroken", "nobody")


class Account(NamedTuple):
    """Who the server's processes run as. None: we ourselves."""

    uid: int | None = None
    gid: int | None = None

    @property
    def name(self) -> str:
        import pwd  # noqa: PLC0415  (not on Windows)

        try:
            return pwd.getpwuid(os.geteuid() if self.uid is None else self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"

    def run(
        self, argv: list[str | Path], *, timeout_s: float, env: dict[str, str] | None = None, cwd: Path | str = "/"
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this account and wait for it. Nothing of our environment reaches it: a PGHOST or a
        PGDATA of ours would lead it astray. Raises OSError or subprocess.TimeoutExpired."""
        return subprocess.run(
            argv,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC", **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def can_enter(self, folder: Path) -> bool:
        """Asked of the kernel, not computed from modes: access lists and mounts count too."""
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", folder], timeout_s=30).returncode == 0

    def give(self, path: Path) -> None:
        """Make a file or folder that we have just made this account's own."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def account_for(cluster: Path) -> Account:
    """The owner of an existing cluster; else ourselves, or as root an unprivileged account, made if need be.

    Raises EmbeddedError if the cluster belongs to somebody we cannot act as, or no account can be had.
    """
    us = os.geteuid()
    if cluster.exists():
        owner = cluster.stat()
        if owner.st_uid == us != 0:
            return Account()
        if us != 0:
            raise EmbeddedError(
                f"{cluster} belongs to {Account(owner.st_uid).name}: start Unbroken as that user or as root"
            )
        if owner.st_uid == 0:
            raise EmbeddedError(
                f"{cluster} belongs to root, as which PostgreSQL refuses to run: chown -R it to another user"
            )
        return Account(owner.st_uid, owner.st_gid)
    return Account() if us != 0 else _unprivileged()


def home_for(data_dir: Path, account: Account) -> Path:
    """The folder in which the cluster lies or will lie: the data directory, or where its pointer leads."""
    pointer = data_dir / POINTER
    if pointer.exists():
        home = Path(pointer.read_text().strip())
        if not home.is_dir():
            raise EmbeddedError(
                f"{pointer} names {home}, which is gone: bring it back, or delete {pointer} to begin anew"
            )
        return home
    if account.uid is None or account.can_enter(data_dir):
        return data_dir
    if (data_dir / "postgres").exists():
        raise EmbeddedError(
            f"{account.name}, who runs PostgreSQL, can no longer enter {data_dir}: a parent's mode has changed"
        )
    home = _outside(data_dir, account)
    draft = data_dir / f"{POINTER}.new"
    draft.write_text(f"{home}\n")
    draft.replace(pointer)
    return home


def pointed_home(data_dir: Path) -> Path:
    """Where a cluster of this data directory would lie if it exists; asks nothing and makes nothing."""
    pointer = data_dir / POINTER
    return Path(pointer.read_text().strip()) if pointer.exists() else data_dir


def _unprivileged() -> Account:
    import pwd  # noqa: PLC0415  (not on Windows)

    for attempt in range(2):
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        for entry in (known[name] for name in ACCOUNTS if name in known):
            account = Account(entry.pw_uid, entry.pw_gid)
            if entry.pw_uid != 0 and _usable(account):
                return account
        if attempt == 0 and not _made_account("unbroken"):
            break
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and no other account can be used or made here: "
        "start Unbroken as an ordinary user, or set DATABASE_URL"
    )


def _usable(account: Account) -> bool:
    """In a container the account may be outside the user ids that this container has."""
    try:
        return account.can_enter(Path("/"))
    except (OSError, subprocess.SubprocessError):
        return False


def _made_account(name: str) -> bool:
    for argv in (
        ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", name],
        ["adduser", "-S", "-H", name],
    ):
        if shutil.which(argv[0]) and subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode == 0:
            return True
    return False


def _outside(data_dir: Path, account: Account) -> Path:
    for parent in OUTSIDE:
        try:
            if not parent.exists():
                parent.mkdir()
                parent.chmod(0o755)
            home = Path(tempfile.mkdtemp(prefix=f"unbroken-{data_dir.parent.name or 'data'}-", dir=parent))
        except OSError:
            continue
        home.chmod(0o711)
        if account.can_enter(home):
            return home
        home.rmdir()
    raise EmbeddedError(
        f"{account.name}, who runs PostgreSQL because root must not, cannot enter {data_dir}: "
        "choose another --data-dir, or set DATABASE_URL"
    )
