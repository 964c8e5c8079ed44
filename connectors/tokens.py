"""Bearer tokens, and where they come from: a text, a variable, a file, a program, or an OAuth2 server.

A provider is asked before every request.  It holds a token until shortly before that
expires, and gets another where a gateway has refused it.
"""

from __future__ import annotations

import abc
import base64
import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

from sremote.connectors.credentials import Secret, find_secret
from sremote.connectors.errors import SignInRefused, UsageError

EARLY = 30.0
"""Seconds before its end at which a token is replaced, so that no request begins with one that ends on the way."""
_REMEDY = "Get a new token there."


@runtime_checkable
class HasAccessToken(Protocol):
    """What other libraries' token objects look like, as pyfirecrest's."""

    def get_access_token(self) -> str:
        """Return a token that is good now."""


@dataclass(frozen=True)
class Token:
    """A bearer token; its text shows in no ``repr``."""

    text: str = field(repr=False)
    expires: float | None = None
    """Seconds since the epoch; None where it does not tell."""

    @classmethod
    def read(cls, text: str) -> Token:
        """Return the token that a text is, or that JSON holds as ``access_token`` or ``token``.

        Its end is the JSON's ``expires_at``, or the ``exp`` of a JWT (RFC 7519).
        """
        expires: float | None = None
        with suppress(ValueError, TypeError):
            entry = json.loads(text)
            if isinstance(entry, dict):
                text = str(entry.get("access_token") or entry.get("token") or "")
                expires = float(entry["expires_at"]) if "expires_at" in entry else None
        if expires is None:
            with suppress(ValueError, TypeError, IndexError, AttributeError):
                payload = text.split(".")[1]
                claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
                expires = float(claims["exp"]) if "exp" in claims else None
        return cls(text, expires)

    def ends_within(self, seconds: float) -> bool:
        """Say whether it has ended, or will within ``seconds``."""
        return self.expires is not None and time.time() + seconds >= self.expires


class TokenProvider(abc.ABC):
    """Gives tokens, to several threads at once.

    ``origin`` is what messages call the place that they come from, ``remedy`` what to
    do where they are good no more; neither holds anything secret.
    """

    def __init__(self, origin: str, remedy: str = _REMEDY) -> None:
        self.origin = origin
        self.remedy = remedy
        self._lock = threading.Lock()
        self._held: Token | None = None

    @abc.abstractmethod
    def obtain(self) -> Token:
        """Get a token from where they come from.  Raises SignInRefused or another LineError."""

    def token(self) -> str:
        """Return a token that is good now.  Raises SignInRefused with when it expired where there is none."""
        with self._lock:
            if self._held is None or self._held.ends_within(EARLY):
                found = self.obtain()
                if not found.text.isascii() or not found.text.isprintable() or " " in found.text or not found.text:
                    raise SignInRefused(f"{self.origin} gives no token", self.remedy)
                self._held = found
            if self._held.ends_within(0):
                raise SignInRefused(f"the token from {self.origin} {_end(self._held)}", self.remedy)
            return self._held.text

    def replace(self, refused: str) -> bool:
        """Forget a token that a gateway has refused; say whether there is another to try."""
        with self._lock:
            if self._held is not None and self._held.text == refused:
                self._held = None
        return self.token() != refused

    def refusal(self) -> str:
        """Return what to say of a token that was refused."""
        held = self._held
        end = f", which {_end(held)}," if held is not None and held.expires is not None else ""
        return f"the token from {self.origin}{end} was refused"

    def redact(self, text: str) -> str:
        """Return ``text`` without the token, which an answer may repeat."""
        held = self._held
        return text if held is None else text.replace(held.text, "[token]")


class SecretToken(TokenProvider):
    """A token that is read where a secret is kept, and read again when it has expired."""

    def __init__(self, secret: Secret) -> None:
        super().__init__(secret.origin)
        self._secret = secret

    def obtain(self) -> Token:
        return Token.read(self._secret.read().strip())


class ForeignToken(TokenProvider):
    """Another library's object with ``get_access_token``."""

    def __init__(self, provider: HasAccessToken) -> None:
        super().__init__(type(provider).__name__)
        self._provider = provider

    def obtain(self) -> Token:
        return Token.read(self._provider.get_access_token())


class TokenOptions(TypedDict, total=False):
    """The options of a sign-in with tokens; a connector takes them all.

    One of the first seven says where tokens come from.  ``token_url`` and ``client_id``
    go with a client secret or a key; the key's file may hold the client's id itself.
    """

    token: str | TokenProvider | HasAccessToken
    """A token, or an object that gives them."""
    token_env: str
    """The environment variable that holds a token."""
    token_file: str
    """A file of mode 0600 that holds a token, as it is or as JSON."""
    token_command: str | Sequence[str]
    """A program that prints a token."""
    client_secret_env: str
    """The environment variable that holds an OAuth2 client's secret."""
    client_secret_file: str
    """A file of mode 0600 that holds it."""
    key_file: str
    """A file of mode 0600 with an OAuth2 client's private key: PEM, JWK, or JSON with either."""
    token_url: str
    """The OAuth2 token endpoint."""
    client_id: str
    client_auth: str
    """How the secret goes there: in the form (``post``, the default), or in a header (``basic``)."""
    scope: str


ORIGINS = ("token", "token_env", "token_file", "token_command", "client_secret_env", "client_secret_file", "key_file")
"""The options that say where tokens come from; one of them is given."""


def token_provider(where: str, options: TokenOptions) -> TokenProvider:
    """Return the provider that a connector's options ask for; ``where`` is what messages call its host.

    Raises UsageError where the options cannot be, or name no origin or several.
    """
    unknown = sorted(options.keys() - TokenOptions.__annotations__.keys())
    if unknown:
        raise UsageError(f"{where}: there is no option {unknown[0]!r}")
    given = [name for name in ORIGINS if options.get(name) is not None]
    if len(given) != 1:
        what = " and ".join(given) + " both say" if given else "nothing says"
        raise UsageError(f"{where}: {what} where its tokens come from", f"Give one of {', '.join(ORIGINS)}.")
    token = options.get("token")
    if isinstance(token, TokenProvider):
        return token
    if isinstance(token, str):
        text = token
        return SecretToken(Secret("the option 'token'", lambda: text))
    if isinstance(token, HasAccessToken):
        return ForeignToken(token)
    if token is not None:
        raise UsageError(f"{where}: the option 'token' is neither a text nor an object with get_access_token()")
    secret = find_secret(
        "token",
        file=options.get("token_file"),
        variable=options.get("token_env"),
        command=options.get("token_command"),
    )
    return SecretToken(secret) if secret is not None else _client_credentials(where, given[0], options)


def _client_credentials(where: str, origin: str, options: TokenOptions) -> TokenProvider:
    from sremote.connectors.oauth import ClientSecret, PrivateKey, read_key

    url, client_id, scope = options.get("token_url"), options.get("client_id"), options.get("scope")
    if url is None:
        raise UsageError(f"{where}: {origin} needs a token_url", "Give the address of the OAuth2 token endpoint.")
    key_file = options.get("key_file")
    if key_file is not None:
        return PrivateKey(url, read_key(Path(key_file).expanduser(), client_id), scope=scope)
    if client_id is None:
        raise UsageError(f"{where}: {origin} needs a client_id", "Give the name of the OAuth2 client.")
    style = options.get("client_auth", "post")
    if style not in ("post", "basic"):
        raise UsageError(f"{where}: client_auth is 'post' or 'basic', not {style!r}")
    secret = find_secret(
        "client secret", file=options.get("client_secret_file"), variable=options.get("client_secret_env")
    )
    assert secret is not None
    return ClientSecret(url, client_id, secret, scope=scope, basic=style == "basic")


def _end(token: Token) -> str:
    verb = "expired" if token.ends_within(0) else "expires"
    moment = time.gmtime(token.expires)
    return f"{verb} at {time.strftime('%Y-%m-%d %H:%M:%S', moment)} UTC"


def json_of(answer: Any) -> Any:
    """Return the JSON of an HTTP answer; None where it is none."""
    try:
        return answer.json()
    except ValueError:
        return None
