"""The keys that tokens are checked with. A key decides which algorithms count, never the token."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from unbroken.domain.errors import InvalidValue, Refused

log = logging.getLogger(__name__)

SHORTEST_SECRET: Final = 32
"""Bytes (RFC 7518, 3.2, for HS256)."""
SMALLEST_RSA: Final = 2048
"""Bits."""
HMAC: Final = ("HS256", "HS384", "HS512")
RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class Key(Struct, frozen=True):
    key: Any
    algorithms: tuple[str, ...]


class Keys(ABC):
    @abstractmethod
    def key_for(self, key_id: str | None) -> Key:
        """Raises Refused: no such key."""


class OneKey(Keys):
    """A public key in PEM, or a shared secret."""

    def __init__(self, text: str | bytes, *, name: str) -> None:
        """`name`: of the setting that it came from. Raises InvalidValue, which never repeats the key."""
        self._key = _key_of(text.encode() if isinstance(text, str) else text, name)

    def key_for(self, key_id: str | None) -> Key:
        return self._key


class KeySetFile(Keys):
    """A JWKS file, read again whenever it has changed; while it cannot be read, its last good content counts."""

    def __init__(self, path: Path, *, name: str) -> None:
        """Raises InvalidValue."""
        self._path = path
        self._name = name
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str | None, Key] = {}
        self._read()

    def key_for(self, key_id: str | None) -> Key:
        try:
            self._read()
        except InvalidValue as error:
            log.warning("the keys stay as they were: %s", error)
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if key_id is None or key_id not in self._keys:
            raise Refused("the token was signed with a key that is not known here")
        return self._keys[key_id]

    def _read(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return
            self._stamp = stamp  # a file that cannot be understood is complained of once
            listed = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Any]).get("keys")
        except OSError as error:
            raise InvalidValue(self._name, f"cannot read {self._path}: {error.strerror}") from None
        except msgspec.MsgspecError:
            raise InvalidValue(self._name, f"{self._path} is not a JSON Web Key Set") from None
        keys = dict(_from_set(one, self._name) for one in listed or () if one.get("use", "sig") == "sig")
        if not keys:
            raise InvalidValue(self._name, f"{self._path} holds no key to check signatures with")
        self._keys = keys


def _from_set(listed: dict[str, Any], name: str) -> tuple[str | None, Key]:
    key_id = listed.get("kid")
    try:
        key = jwt.PyJWK(listed).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise InvalidValue(name, f"key {key_id!r} cannot be used: {type(error).__name__}") from None
    if hasattr(key, "public_key"):
        key = key.public_key()
    found = _checked(key, name)
    named = listed.get("alg")
    if named is not None:
        found = Key(found.key, tuple(one for one in found.algorithms if one == named))
    if not found.algorithms:
        raise InvalidValue(name, f"key {key_id!r} cannot be used with {named!r}")
    return key_id, found


def _key_of(data: bytes, name: str) -> Key:
    if not data.lstrip().startswith(b"-----BEGIN"):
        return _checked(data.strip(), name)
    if b"PRIVATE" in data:
        raise InvalidValue(name, "is a private key; tokens are checked with the public one")
    try:
        return _checked(load_pem_public_key(data.strip()), name)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidValue(name, "is not a public key in PEM") from None


def _checked(key: Any, name: str) -> Key:
    match key:
        case bytes() if len(key) >= SHORTEST_SECRET:
            return Key(key, HMAC)
        case bytes():
            raise InvalidValue(name, f"is a secret of {len(key)} bytes; at least {SHORTEST_SECRET} are needed")
        case RSAPublicKey() if key.key_size >= SMALLEST_RSA:
            return Key(key, RSA)
        case EllipticCurvePublicKey() if key.curve.name in CURVES:
            return Key(key, (CURVES[key.curve.name],))
        case Ed25519PublicKey():
            return Key(key, ("EdDSA",))
    raise InvalidValue(name, f"a key of this kind or size is not used ({type(key).__name__.lstrip('_')})")
