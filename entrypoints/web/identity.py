"""Who callers are, where no token says so: whoever reaches loopback, or whom a trusted proxy names."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from unbroken.domain.errors import Refused
from unbroken.domain.ports.identity import Caller, Identity, User

DEFAULT_USER = "local"
Network = IPv4Network | IPv6Network


class LocalIdentity(Identity):
    """`UNBROKEN_AUTH=none`: the `userId` query parameter stands for identity. Only behind doors that let in nothing
    but loopback (rule 11)."""

    async def identify(self, caller: Caller) -> User:
        return User(caller.query.get("userId") or DEFAULT_USER)


class ProxyIdentity(Identity):
    """`UNBROKEN_AUTH=proxy`: a header names the user, and is believed only from the proxies that are trusted.

    The proxy has to replace the header, not to add to it: a name that comes twice is refused.
    """

    def __init__(self, *, header: str, trusted: Sequence[Network]) -> None:
        self._header = header.lower()
        self._trusted = tuple(trusted)

    async def identify(self, caller: Caller) -> User:
        if not self._trusts(caller.host):
            raise Refused("only a trusted proxy may speak for a user")
        name = caller.headers.get(self._header, "").strip()
        if not name or "," in name:
            raise Refused(f"the proxy has to name one user in {self._header}")
        return User(name)

    def _trusts(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._trusted)
