"""From where callers may come: the names this server goes by, and the sites whose pages may speak to it.

A browser sends a user's cookies, and reaches a user's loopback, for any page that asks. It also says, in `Origin`,
which page that was, and in `Host` by which name it found us. Programs that are no browsers send no `Origin`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.identity import Caller

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Doors:
    def __init__(
        self,
        *,
        hosts: Collection[str] | None,
        origins: Collection[str] = (),
        welcome: Callable[[str], bool] = lambda origin: False,
    ) -> None:
        """`hosts`: names without a port; None: any. `origins`: `scheme://name[:port]`, besides our own page's.
        `welcome`: whether an origin is one more of them."""
        self._welcome = welcome
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def check(self, caller: Caller) -> None:
        """Raises InvalidValue: a foreign `Host` or `Origin`."""
        host = caller.headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            raise InvalidValue("Host", f"{host!r} is not a name of this server")
        origin = caller.headers.get("origin")
        if origin is None or origin.lower() in self._origins or self._welcome(origin):
            return
        if not host or _authority(origin) != host.lower():
            raise InvalidValue("Origin", f"{origin!r} is another site's page")


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
