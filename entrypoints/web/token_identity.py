"""`UNBROKEN_AUTH=jwt`: a signed token says who is calling, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import jwt

from unbroken.domain.errors import Refused
from unbroken.domain.ports.identity import Caller, Identity, User
from unbroken.entrypoints.web.token_keys import Keys

SUBPROTOCOL: Final = "unbroken"
"""What a browser offers beside its token, and gets back: the token itself is never repeated."""
TOKEN_PROTOCOL: Final = "bearer."  # noqa: S105 (a prefix)
LEEWAY_S: Final = 5
"""By how much clocks may differ."""
LATEST_S: Final = 2**53
"""An end beyond is as good as this one."""
MAX_TOKEN: Final = 16 << 10


class TokenIdentity(Identity):
    """Takes the token from `Authorization: Bearer`, from the WebSocket subprotocol `bearer.<token>`, or from a cookie;
    never from the address, which ends in logs and histories."""

    challenge = "Bearer"

    def __init__(
        self, keys: Keys, *, user_claim: str, issuer: str | None, audience: str | None, cookie: str | None
    ) -> None:
        self._keys = keys
        self._user_claim = user_claim
        self._issuer = issuer
        self._audience = audience
        self._cookie = cookie

    async def identify(self, caller: Caller) -> User:
        token = next(self._tokens(caller), None)
        if token is None:
            raise Refused("a token is needed")
        if len(token) > MAX_TOKEN:
            raise Refused("the token is too long")
        claims = self._claims(token)
        user_id = claims.get(self._user_claim)
        if not isinstance(user_id, str) or not user_id:
            raise Refused(f"the token names no user in {self._user_claim!r}")
        return User(user_id, float(min(int(claims["exp"]), LATEST_S)) + LEEWAY_S)

    def _tokens(self, caller: Caller) -> Iterator[str]:
        """In the order of how plainly it was meant for us."""
        scheme, _, token = caller.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            yield token.strip()
        for offered in caller.headers.get("sec-websocket-protocol", "").split(","):
            if offered.strip().startswith(TOKEN_PROTOCOL):
                yield offered.strip().removeprefix(TOKEN_PROTOCOL)
        if self._cookie is not None:
            yield from _cookies(caller.headers.get("cookie", ""), self._cookie)

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            key = self._keys.key_for(jwt.get_unverified_header(token).get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=list(key.algorithms),
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": ["exp"], "verify_aud": self._audience is not None},
            )
        except jwt.ExpiredSignatureError:
            raise Refused("the token has expired") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Refused(f"the token is not accepted ({type(error).__name__})") from None
        return claims


def _cookies(header: str, name: str) -> Iterator[str]:
    """By hand, since parsers give up at the first cookie that they cannot read, and any application on this host may
    have set it."""
    for part in header.split(";"):
        found, _, value = part.partition("=")
        if found.strip() == name and value.strip(' "'):
            yield value.strip(' "')
