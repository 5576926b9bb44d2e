"""`UNBROKEN_AUTH=none`: whoever can reach loopback is believed, and web pages cannot (rule 11)."""

from __future__ import annotations

from urllib.parse import urlsplit

from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.identity import Caller, Identity

DEFAULT_USER = "local"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class LocalIdentity(Identity):
    """The `userId` query parameter stands for identity.

    Without the two checks any web page could read and write the threads: a foreign page's requests carry its
    Origin, and a name that was made to resolve to 127.0.0.1 arrives as a foreign Host.
    """

    def user_of(self, caller: Caller) -> str:
        host = caller.headers.get("host", "")
        if _host_name(host) not in LOOPBACK_NAMES:
            raise InvalidValue("Host", f"{host!r} is not a loopback name; without authentication only those are served")
        origin = caller.headers.get("origin")
        if origin is not None and _authority(origin) != host.lower():
            raise InvalidValue("Origin", f"{origin!r} is another site's page")
        return caller.query.get("userId") or DEFAULT_USER


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
