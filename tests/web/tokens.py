"""Tokens as an identity provider would sign them, good and bad."""

from __future__ import annotations

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "a secret that only the provider and we know, of 58 bytes.."


class Provider:
    """An identity provider with a key pair."""

    def __init__(self, key_id: str = "one") -> None:
        self.key_id = key_id
        self.key: EllipticCurvePrivateKey = generate_private_key(SECP256R1())

    @property
    def public_pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def listed(self) -> dict[str, Any]:
        """In a JSON Web Key Set."""
        algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
        described: dict[str, Any] = algorithm.to_jwk(self.key.public_key(), as_dict=True)
        return described | {"kid": self.key_id, "use": "sig", "alg": "ES256"}

    def token(self, user: str, *, lasts_s: float = 60, **claims: Any) -> str:
        return jwt.encode(
            {"sub": user, "exp": int(time.time() + lasts_s)} | claims,
            self.key,
            algorithm="ES256",
            headers={"kid": self.key_id},
        )


def shared(user: str, *, lasts_s: float = 60, secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time() + lasts_s)} | claims, secret, algorithm=algorithm)
