"""Who a caller is taken for: tokens good and bad, keys that change, proxies that may speak and those that may not."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.web.tokens import SECRET, Provider, shared
from unbroken.domain.errors import InvalidValue, Refused
from unbroken.domain.ports.identity import Caller, Identity, User
from unbroken.entrypoints.web.doors import LOOPBACK_NAMES, Doors
from unbroken.entrypoints.web.identity import ProxyIdentity
from unbroken.entrypoints.web.token_identity import LEEWAY_S, TokenIdentity
from unbroken.entrypoints.web.token_keys import Keys, KeySetFile, OneKey

PROVIDER = Provider()


def caller(host: str = "127.0.0.1", **headers: str) -> Caller:
    return Caller(host, {name.replace("_", "-"): value for name, value in headers.items()}, {"userId": "mallory"}, "ws")


def who(identity: Identity, caller: Caller) -> User:
    return asyncio.run(identity.identify(caller))


def bearer(token: str) -> Caller:
    return caller(authorization=f"Bearer {token}")


def by(keys: Keys, **settings: Any) -> Identity:
    settings = {"user_claim": "sub", "issuer": None, "audience": None, "cookie": None} | settings
    return TokenIdentity(keys, **settings)


def by_provider(**settings: Any) -> Identity:
    return by(OneKey(PROVIDER.public_pem, name="KEY"), **settings)


def by_secret(**settings: Any) -> Identity:
    return by(OneKey(SECRET, name="KEY"), **settings)


def test_a_good_token_names_its_user_and_its_end() -> None:
    for identity, token in ((by_provider(), PROVIDER.token("ann")), (by_secret(), shared("ann"))):
        user = who(identity, bearer(token))
        assert user.id == "ann"
        assert abs(user.until - (time.time() + 60 + LEEWAY_S)) < 3


def test_an_end_beyond_all_numbers_is_a_number() -> None:
    assert who(by_secret(), bearer(shared("ann", exp=10**400))).until > time.time()


def test_a_token_is_found_wherever_a_client_can_put_it() -> None:
    token = shared("ann")
    identity = by_secret(cookie="session")
    for found in (
        bearer(token),
        caller(authorization=f"bearer  {token}"),
        caller(sec_websocket_protocol=f"unbroken, bearer.{token}"),
        caller(cookie=f"theme=dark; session={token}"),
        caller(cookie=f'pref={{"a":[1]}}; bad[]; @; session="{token}"; x'),
        caller(authorization="Basic YTpi", cookie=f"session={token}"),
    ):
        assert who(identity, found).id == "ann"
    for absent in (caller(), caller(cookie=f"other={token}"), caller(authorization=token), caller(cookie='session=""')):
        with pytest.raises(Refused, match="a token is needed"):
            who(identity, absent)
    with pytest.raises(Refused, match="a token is needed"):
        who(by_secret(), caller(cookie=f"session={token}"))


def unsigned(claims: dict[str, Any], **header: str) -> str:
    parts = [{"alg": "none", "typ": "JWT"} | header, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def confused() -> str:
    """Signed with the public key as if that were a shared secret, as PyJWT itself refuses to do."""
    import hashlib
    import hmac

    head, body, _ = unsigned({"sub": "ann", "exp": int(time.time() + 60)}, alg="HS256").split(".")
    signature = hmac.digest(PROVIDER.public_pem.encode(), f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def tampered(token: str) -> str:
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "root"}).encode()).rstrip(b"=").decode()
    return f"{head}.{forged}.{signature}"


BAD_TOKENS: dict[str, str] = {
    "expired": PROVIDER.token("ann", lasts_s=-LEEWAY_S - 2),
    "not valid yet": PROVIDER.token("ann", nbf=int(time.time()) + 60),
    "without an end": jwt.encode({"sub": "ann"}, PROVIDER.key, algorithm="ES256"),
    "of another provider": Provider().token("ann"),
    "unsigned": unsigned({"sub": "ann", "exp": int(time.time() + 60)}),
    "unsigned, said otherwise": unsigned({"sub": "ann", "exp": int(time.time() + 60)}, alg="ES256"),
    "signed with the public key": confused(),
    "changed": tampered(PROVIDER.token("ann")),
    "without a user": jwt.encode({"exp": int(time.time() + 60)}, PROVIDER.key, algorithm="ES256"),
    "with an empty user": PROVIDER.token(""),
    "with a user that is a number": PROVIDER.token("x", sub=7),
    "with an end that is a word": PROVIDER.token("ann", exp="tomorrow"),
    "no token": "a.b.c",
    "not even that": "…",
    "far too long": "a" * 20_000,
}


@pytest.mark.parametrize("flaw", BAD_TOKENS)
def test_a_bad_token_is_refused_and_never_repeated(flaw: str) -> None:
    token = BAD_TOKENS[flaw]
    with pytest.raises(Refused) as refusal:
        who(by_provider(), bearer(token))
    assert token not in str(refusal.value)


def test_issuer_audience_and_claim_are_as_they_are_set() -> None:
    identity = by_secret(issuer="https://id.example", audience="chat", user_claim="email")
    good: dict[str, Any] = {"iss": "https://id.example", "aud": ["chat", "mail"], "email": "ann@example.org"}
    assert who(identity, bearer(shared("x", **good))).id == "ann@example.org"
    for wrong in ({"iss": "https://evil.example"}, {"aud": "mail"}, {"email": None}):
        with pytest.raises(Refused):
            who(identity, bearer(shared("x", **good | wrong)))
    for missing in good:
        with pytest.raises(Refused):
            who(identity, bearer(shared("x", **{name: value for name, value in good.items() if name != missing})))
    assert who(by_secret(), bearer(shared("ann", aud="anything"))).id == "ann"


def test_the_key_decides_which_algorithms_count() -> None:
    big, edwards = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    for key, good, bad in ((big, "RS256", "PS256x"), (edwards, "EdDSA", "RS256")):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        identity = by(OneKey(pem, name="KEY"))
        token = jwt.encode({"sub": "ann", "exp": int(time.time() + 60)}, key, algorithm=good)
        assert who(identity, bearer(token)).id == "ann"
        with pytest.raises(Refused):
            who(identity, bearer(unsigned({"sub": "ann", "exp": int(time.time() + 60)}, alg=bad) + "x"))


def test_a_key_that_cannot_be_used_is_told_by_its_setting_and_not_repeated() -> None:
    private = PROVIDER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    small = rsa.generate_private_key(65537, 1024).public_key()
    weak = small.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in ("short", "", private, "-----BEGIN PUBLIC KEY-----\nrubbish\n-----END PUBLIC KEY-----", weak):
        with pytest.raises(InvalidValue, match="UNBROKEN_JWT_KEY") as refusal:
            OneKey(text, name="UNBROKEN_JWT_KEY")
        assert not text or text not in str(refusal.value)


def test_keys_of_a_set_come_and_go_with_their_file(tmp_path: Path) -> None:
    one, two = Provider("one"), Provider("two")
    file = tmp_path / "keys.json"
    stamps = iter(range(1, 100))

    def write(text: str) -> None:
        file.write_text(text)
        os.utime(file, ns=(next(stamps), next(stamps)))

    write(json.dumps({"keys": [one.listed, {"kty": "EC", "use": "enc"}]}))
    identity = by(KeySetFile(file, name="SET"))
    assert who(identity, bearer(one.token("ann"))).id == "ann"
    with pytest.raises(Refused, match="not known"):
        who(identity, bearer(two.token("ann")))
    write(json.dumps({"keys": [two.listed]}))
    assert who(identity, bearer(two.token("ann"))).id == "ann"
    with pytest.raises(Refused, match="not known"):
        who(identity, bearer(one.token("ann")))
    for broken in ("{", '{"keys": []}', '{"keys": [{"kty": "EC"}]}', "[]"):
        write(broken)
        assert who(identity, bearer(two.token("ann"))).id == "ann", "the last good keys count"
    file.unlink()
    assert who(identity, bearer(two.token("ann"))).id == "ann"
    with pytest.raises(InvalidValue, match="SET"):
        KeySetFile(file, name="SET")


def test_a_set_may_hold_several_keys_and_a_token_must_then_name_one(tmp_path: Path) -> None:
    one, two = Provider("one"), Provider("two")
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [one.listed, two.listed]}))
    identity = by(KeySetFile(file, name="SET"))
    for provider in (one, two):
        assert who(identity, bearer(provider.token("ann"))).id == "ann"
    nameless = jwt.encode({"sub": "ann", "exp": int(time.time() + 60)}, one.key, algorithm="ES256")
    with pytest.raises(Refused):
        who(identity, bearer(nameless))
    one.key_id = "two"
    with pytest.raises(Refused):
        who(identity, bearer(one.token("ann")))


TRUSTED = ProxyIdentity(header="X-User", trusted=[ip_network("10.0.0.0/8"), ip_network("::1")])


@pytest.mark.parametrize("host", ["10.1.2.3", "::1", "::ffff:10.0.0.1"])
def test_a_trusted_proxy_names_the_user(host: str) -> None:
    assert who(TRUSTED, caller(host, x_user=" ann ")).id == "ann"


@pytest.mark.parametrize("host", ["127.0.0.1", "11.0.0.1", "::2", "::ffff:11.0.0.1", "", "unix", "10.0.0.1.example"])
def test_nobody_else_does(host: str) -> None:
    with pytest.raises(Refused, match="only a trusted proxy"):
        who(TRUSTED, caller(host, x_user="ann", x_forwarded_for="10.0.0.1"))


@pytest.mark.parametrize("named", ["", "  ", "ann,bob", "ann,ann"])
def test_a_proxy_names_exactly_one_user(named: str) -> None:
    with pytest.raises(Refused, match="name one user"):
        who(TRUSTED, caller("10.0.0.1", x_user=named))
    with pytest.raises(Refused, match="name one user"):
        who(TRUSTED, caller("10.0.0.1"))


@pytest.mark.parametrize(
    ("hosts", "origins", "host", "origin", "opens"),
    [
        (None, (), "anything:8000", None, True),
        (None, (), "chat.example", "https://chat.example", True),
        (None, (), "chat.example:8443", "https://CHAT.example:8443", True),
        (None, (), "chat.example", "https://evil.example", False),
        (None, (), "chat.example", "null", False),
        (None, (), "", "", False),
        (None, ("https://app.example/",), "chat.example", "https://app.example", True),
        (None, ("https://app.example",), "chat.example", "http://app.example", False),
        (None, ("https://app.example",), "chat.example", "https://app.example.evil", False),
        (("chat.example",), (), "chat.example:443", None, True),
        (("chat.example",), (), "evil.example", None, False),
        (("chat.example",), (), "", None, False),
        (LOOPBACK_NAMES, (), "[::1]:8000", "http://[::1]:8000", True),
        (LOOPBACK_NAMES, (), "127.0.0.1.evil.example", None, False),
    ],
)
def test_which_names_and_pages_are_let_in(
    hosts: tuple[str, ...] | None, origins: tuple[str, ...], host: str, origin: str | None, opens: bool
) -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    doors = Doors(hosts=hosts, origins=origins)
    try:
        doors.check(Caller("127.0.0.1", headers, {}, "ws"))
        opened = True
    except InvalidValue:
        opened = False
    assert opened is opens
