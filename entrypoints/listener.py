"""The TCP port that a server takes, alone or with other processes of its own kind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from unbroken.domain.errors import InvalidValue

SEND_BUFFER_BYTES: Final = 64 << 10
"""Asked of the kernel for each socket, so that a stalled reader holds little of this machine (I12)."""
BACKLOG: Final = 2048


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """`shared`: beside other listeners of the same kind and user; the kernel spreads new connections over them, so that
    it must not listen before it can serve: the server does that itself. Raises InvalidValue."""
    listener = _bound(host, port, shared=shared)
    if not shared:
        listener.listen(BACKLOG)
    return listener


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """The port, for listeners of other processes to share; 0 takes a free one. Nobody who does not share it can have it
    meanwhile. Raises InvalidValue if somebody has it, or if this system cannot share ports."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise InvalidValue("workers", "this system cannot share a port among processes; use UNBROKEN_WORKERS=1")
    with _bound(host, port, shared=False) as alone:  # a listener that shares its port would let us in as well
        port = alone.getsockname()[1]
    with _bound(host, port, shared=True):
        yield port


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InvalidValue(
            "port", f"cannot serve on {host}:{port}: {error.strerror}; choose another with --port"
        ) from None
    return listener
