"""Tokens from an OAuth2 server, as client credentials: with a secret, or a JWT signed with a private key.

RFC 6749, section 4.4, and RFC 7523, section 2.2.
"""

from __future__ import annotations

import abc
import base64
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit

from sremote.connectors.credentials import Secret, secret_in_file
from sremote.connectors.errors import SignInRefused, UsageError
from sremote.connectors.http_session import HttpSession
from sremote.connectors.tokens import Token, TokenProvider, json_of

TOKEN_TIMEOUT = 30.0
"""Seconds for a token endpoint to answer."""
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFE = 300
"""Seconds that a signed assertion is good for."""
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class _ClientCredentials(TokenProvider):
    """A token endpoint, and what shows it who asks."""

    def __init__(self, token_url: str, client_id: str, scope: str | None) -> None:
        if urlsplit(token_url).scheme not in ("http", "https"):
            raise UsageError(f"the token_url {token_url!r} is not an address", "It begins with https://.")
        remedy = "See that the client has not expired, and that it may be used from this machine."
        super().__init__(f"{token_url} for the client {client_id!r}", remedy)
        self.client_id = client_id
        self._scope = scope
        self._http = HttpSession(token_url, name=token_url, connect_timeout=TOKEN_TIMEOUT)

    def obtain(self) -> Token:
        fields, headers = self.credentials()
        scope = {"scope": self._scope} if self._scope else {}
        # Asking twice does no harm: each answer is a token of its own.
        answer = self._http.request(
            "POST",
            "",
            idempotent=True,
            form={"grant_type": "client_credentials", **scope, **fields},
            headers={"Accept": "application/json", **headers},
        )
        body = json_of(answer)
        body = body if isinstance(body, dict) else {}
        if answer.status_code != 200:
            # RFC 6749, section 5.2
            said = ": ".join(str(body[key]) for key in ("error", "error_description") if body.get(key))
            said = said or f"HTTP status {answer.status_code}"
            raise SignInRefused(f"{self._http.name} refused the client {self.client_id!r}: {said}", self.remedy)
        if "access_token" not in body:
            raise SignInRefused(f"{self._http.name} gives no token", "See that this is a token endpoint.")
        token = Token.read(str(body["access_token"]))
        life = body.get("expires_in")
        return Token(token.text, time.time() + float(life)) if isinstance(life, int | float) else token

    @abc.abstractmethod
    def credentials(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the fields of the form and the headers that show who asks."""


class ClientSecret(_ClientCredentials):
    """With a client secret, in the form or (``basic``) in the Authorization header."""

    def __init__(
        self, token_url: str, client_id: str, secret: Secret, *, scope: str | None = None, basic: bool = False
    ) -> None:
        super().__init__(token_url, client_id, scope)
        self._secret = secret
        self._basic = basic

    def credentials(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        secret = self._secret.read()
        if not self._basic:
            return {"client_id": self.client_id, "client_secret": secret}, {}
        # RFC 6749, section 2.3.1: both are form-encoded first.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
        return {}, {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


@dataclass(frozen=True)
class ClientKey:
    """A client's private key, and how it signs."""

    client_id: str
    key: Any = field(repr=False)
    algorithm: str
    key_id: str | None = None


class PrivateKey(_ClientCredentials):
    """With an assertion signed by a private key (``private_key_jwt``)."""

    def __init__(self, token_url: str, key: ClientKey, *, scope: str | None = None) -> None:
        super().__init__(token_url, key.client_id, scope)
        self._key = key
        self._audience = token_url

    def credentials(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        import jwt

        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self._audience,
            "jti": secrets.token_hex(16),
            "iat": now,
            "exp": now + _ASSERTION_LIFE,
        }
        headers = {"kid": self._key.key_id} if self._key.key_id else None
        assertion = jwt.encode(claims, self._key.key, self._key.algorithm, headers)
        return {"client_assertion_type": _JWT_BEARER, "client_assertion": assertion}, {}


def read_key(path: Path, client_id: str | None = None) -> ClientKey:
    """Read a client's key from a file of mode 0600.

    It holds a PEM, perhaps with the client's id as its first line (as those of the
    Superfacility API), a JWK, or JSON with ``client_id`` and a JWK or PEM in ``secret``
    or ``key``.  ``client_id`` goes before what it holds.  Raises SignInRefused where it
    cannot be read or others may read it, UsageError where it holds no key.
    """
    text = secret_in_file(path, "private key", lines=True).strip()
    try:
        if text.startswith("{"):
            return _from_json(json.loads(text), client_id, path)
        first, _, rest = text.partition("\n")
        if first.startswith("-----"):
            return _from_pem(text, client_id, path)
        return _from_pem(rest.strip(), client_id or first.strip(), path)
    except UsageError:
        raise
    except Exception as error:  # libraries differ in what they say of a damaged key, and may show it
        raise UsageError(f"{path} holds no private key: {type(error).__name__}", "Download the key again.") from None


def _from_json(entry: dict[str, Any], client_id: str | None, path: Path) -> ClientKey:
    import jwt

    client_id = client_id or entry.get("client_id")
    inner = entry.get("secret") or entry.get("key") or entry
    if isinstance(inner, str) and inner.lstrip().startswith("-----"):
        return _from_pem(inner, client_id, path)
    key = jwt.PyJWK(json.loads(inner) if isinstance(inner, str) else inner)
    return ClientKey(_named(client_id, path), key.key, key.algorithm_name, key.key_id)


def _from_pem(text: str, client_id: str | None, path: Path) -> ClientKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(text.encode(), None)
    algorithm = "RS256"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = _CURVES[key.curve.name]
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "EdDSA"
    return ClientKey(_named(client_id, path), key, algorithm)


def _named(client_id: str | None, path: Path) -> str:
    if not client_id:
        raise UsageError(f"{path} does not say whose key it is", "Give client_id, or make it the file's first line.")
    return client_id
