"""A network namespace with cables into it, on which packets can vanish: no reset, no refusal, just silence.

A cut cable keeps its link and its routes. Both ends are told a wrong hardware address of the other, so what is sent is
dropped where it arrives, on open connections as on new ones. Needs root and iproute2; every name and address carries
this process's id, and what a process that died has left behind is removed at the next start.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import psutil

OURS: Final = re.compile(r"^unbroken-(\d+)\b", re.MULTILINE)
LINKS: Final = re.compile(r"^\d+: (ub(\d+)[a-z]+)@", re.MULTILINE)
ROOT_MAC: Final = "02:00:00:00:00:01"
FAR_MAC: Final = "02:00:00:00:00:02"
NOBODY: Final = "02:00:00:00:00:99"


class Cable:
    """Two interfaces: `root` is the address of this end, `far` that of the end in the namespace."""

    def __init__(self, namespace: str, name: str, root: str, far: str) -> None:
        self.root = root
        self.far = far
        self.name = name
        self._namespace = namespace

    def lay(self) -> None:
        near = ("link", "add", self.name, "address", ROOT_MAC, "type", "veth")
        ip(*near, "peer", "name", self.name, "address", FAR_MAC, "netns", self._namespace)
        for side, address in (((), self.root), (("-n", self._namespace), self.far)):
            ip(*side, "address", "add", f"{address}/30", "dev", self.name)
            ip(*side, "link", "set", self.name, "up")
        self.mend()

    def cut(self) -> None:
        self._believe(NOBODY, NOBODY)

    def mend(self) -> None:
        self._believe(FAR_MAC, ROOT_MAC)

    def remove(self) -> None:
        ip("link", "delete", self.name)

    def _believe(self, far_mac: str, root_mac: str) -> None:
        known = ("dev", self.name, "nud", "permanent")
        ip("neighbour", "replace", self.far, "lladdr", far_mac, *known)
        ip("-n", self._namespace, "neighbour", "replace", self.root, "lladdr", root_mac, *known)


class Namespace:
    """`with Namespace() as space:` has one with loopback alone; `space.cable(…)` connects it."""

    def __init__(self) -> None:
        pid = os.getpid()
        self.name = f"unbroken-{pid}"
        self._prefix = f"ub{pid}"
        self._net = f"10.{200 + pid // 256 % 50}.{pid % 256}"
        self._cables: list[Cable] = []

    @property
    def network(self) -> str:
        """That all its addresses are in."""
        return f"{self._net}.0/24"

    @property
    def within(self) -> tuple[str, ...]:
        """What runs a command in it, and becomes that command."""
        return ("ip", "netns", "exec", self.name)

    def __enter__(self) -> Self:
        remove_leftovers()
        ip("netns", "add", self.name)
        try:
            ip("-n", self.name, "link", "set", "lo", "up")
        except BaseException:
            ip("netns", "delete", self.name)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for cable in self._cables:
            cable.remove()
        ip("netns", "delete", self.name)

    def cable(self) -> Cable:
        number = len(self._cables)
        name = f"{self._prefix}{'abcdefgh'[number]}"
        cable = Cable(self.name, name, f"{self._net}.{4 * number + 1}", f"{self._net}.{4 * number + 2}")
        cable.lay()
        self._cables.append(cable)
        return cable


def remove_leftovers() -> list[str]:
    """Namespaces and cables of processes that are no more, and what still runs in them; returns their names."""
    gone = []
    for pid in OURS.findall(ip("netns", "list")):
        if not psutil.pid_exists(int(pid)):
            name = f"unbroken-{pid}"
            _end_processes(ip("netns", "pids", name).split())
            ip("netns", "delete", name)
            gone.append(name)
    for name, pid in LINKS.findall(ip("-o", "link")):
        if not psutil.pid_exists(int(pid)):
            with contextlib.suppress(RuntimeError):  # it went with its other end
                ip("link", "delete", name)
    return gone


def _end_processes(pids: list[str]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def ip(*arguments: str) -> str:
    """What `ip` prints. Raises RuntimeError with what it says and what it needs."""
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=30.0)
    except OSError as error:
        raise RuntimeError(f"network namespaces need iproute2: {error}") from None
    if done.returncode != 0:
        who = "" if os.geteuid() == 0 else "; network namespaces need root, and this is not"
        raise RuntimeError(f"`ip {' '.join(arguments)}`: {done.stderr.strip()}{who}")
    return done.stdout


def interfaces() -> Iterator[str]:
    """Of ours, of whatever process, in this namespace."""
    return (name for name, _ in LINKS.findall(ip("-o", "link")))
