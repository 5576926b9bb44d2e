"""Ports for servers that are started later, or again: nobody else is given one meanwhile.

The kernel gives away what is free when a connection goes out or somebody asks for any port. So these are from below
its range, and each process hands out its own ones in turn.
"""

from __future__ import annotations

import random
import socket
from itertools import count
from pathlib import Path
from typing import Final

_LOWEST: Final = 10_000
_KERNEL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_BELOW: Final = max(2 * _LOWEST, int(_KERNEL.read_text().split()[0]))
_turns: Final = count(random.randrange(_BELOW - _LOWEST))


def free_port(host: str = "127.0.0.1") -> int:
    while True:
        port = _LOWEST + next(_turns) % (_BELOW - _LOWEST)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
