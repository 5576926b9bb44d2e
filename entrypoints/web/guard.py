"""Everything that stands between a caller and a thread: doors, identity, limits; and what its settings make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from langgraph_sdk import Auth
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from msgspec import Struct

from unbroken.adapters.langgraph.project import Cors
from unbroken.domain.errors import InvalidValue
from unbroken.domain.ports.identity import Caller, Identity, User
from unbroken.entrypoints.settings import Settings
from unbroken.entrypoints.web.cors import Sites
from unbroken.entrypoints.web.doors import LOOPBACK_NAMES, Doors
from unbroken.entrypoints.web.identity import LocalIdentity, ProxyIdentity
from unbroken.entrypoints.web.project_identity import ProjectIdentity
from unbroken.entrypoints.web.token_identity import TokenIdentity
from unbroken.entrypoints.web.token_keys import Keys, KeySetFile, OneKey
from unbroken.entrypoints.web.user_limits import UserLimits

BROWSER_RULES: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every response that brings no stricter ones: no script but our own files, no page around ours."""


class Guard(Struct, frozen=True):
    doors: Doors
    identity: Identity
    limits: UserLimits

    async def identify(self, connection: ASGIConnection[Any, Any, Any, State]) -> User:
        """Raises Refused."""
        headers: dict[str, str] = {}
        for name, value in connection.scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        client = connection.client
        caller = Caller(
            host=client.host if client else "",
            headers=headers,
            query=dict(connection.query_params),
            scheme=str(connection.scope.get("scheme", "")),
            method=str(connection.scope.get("method", "GET")),
            path=str(connection.scope["path"]),
        )
        self.doors.check(caller)
        return await self.identity.identify(caller)


def guard_of(settings: Settings, cors: Cors | None = None, auth: Auth | None = None) -> Guard:
    """`cors`: other sites whose pages are let in. `auth`: a project's own way to know callers, which counts where the
    settings say `none`. Raises InvalidValue: a key that cannot be read or used, or what `auth` cannot be asked."""
    if settings.auth != "none":
        auth = None
    known = settings.allowed_hosts or None
    hosts = LOOPBACK_NAMES | set(known or ()) if settings.auth == "none" and auth is None else known
    doors = Doors(hosts=hosts, origins=settings.allowed_origins)
    if cors is not None:
        doors = Doors(hosts=hosts, origins=settings.allowed_origins, welcome=Sites(cors).welcome)
    return Guard(doors, _identity_of(settings) if auth is None else ProjectIdentity(auth), _limits_of(settings, auth))


def _identity_of(settings: Settings) -> Identity:
    if settings.auth == "none":
        return LocalIdentity()
    if settings.auth == "proxy":
        return ProxyIdentity(header=settings.proxy_user_header, trusted=settings.proxy_trusted)
    return TokenIdentity(
        _keys_of(settings),
        user_claim=settings.jwt_user_claim,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        cookie=settings.jwt_cookie,
    )


def _keys_of(settings: Settings) -> Keys:
    if settings.jwt_key is not None:
        return OneKey(settings.jwt_key.get_secret_value(), name="UNBROKEN_JWT_KEY")
    if settings.jwt_key_file is not None:
        return OneKey(_read(settings.jwt_key_file, "UNBROKEN_JWT_KEY_FILE"), name="UNBROKEN_JWT_KEY_FILE")
    assert settings.jwt_jwks_file is not None
    return KeySetFile(settings.jwt_jwks_file, name="UNBROKEN_JWT_JWKS_FILE")


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValue(name, f"cannot read {path}: {error.strerror}") from None


def _limits_of(settings: Settings, auth: Auth | None) -> UserLimits:
    if settings.auth == "none" and auth is None:  # whoever comes may call himself as he likes: there is nobody to count
        return UserLimits(sockets=None, messages_per_min=None, threads=None)
    return UserLimits(
        sockets=settings.user_sockets,
        messages_per_min=settings.user_messages_per_min,
        threads=settings.user_threads,
    )
