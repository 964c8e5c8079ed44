"""Who may use the gateway: its token, one-time codes, and the sessions of those who signed in.

The token is 256 bits of chance in a file of mode 0600.  Sessions are kept in memory by
the hash of their id; each is good for one kind of use and from one address, since
browsers send cookies to every port of a host, also to another user's gateway there.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sremote.errors import UsageError

Kind = Literal["api", "page"]
"""What a session is good for: programs, which may do all, or the page, which shows and cancels jobs."""

FREE_TRIES = 5
"""Refused sign-ins from one address that cost no waiting."""
LONGEST_WAIT = 300.0
ADDRESSES = 10_000
"""How many addresses' refusals are remembered."""
SESSIONS = 10_000
"""How many sessions there may be; the oldest goes first."""
CODE_DIGITS = 6


@dataclass(frozen=True)
class Session:
    """Somebody who signed in."""

    kind: Kind
    address: str
    """Where from."""
    ends: float
    """By the clock of ``Access``."""
    csrf: str
    """What a form must bring along."""


@dataclass(frozen=True)
class Key:
    """What one signs in with: the token, and the base32 secret of one-time codes where they are asked for."""

    token: str
    code_secret: str | None = None

    def __repr__(self) -> str:
        return "Key(…)"


class TooManyTries(Exception):
    """Sign-ins from that address have to wait."""

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait
        """Seconds."""


class Access:
    """Checks sign-ins and sessions; ``clock`` counts seconds, ``now`` is the time of day for one-time codes."""

    def __init__(
        self,
        key: Key,
        *,
        lifetime: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._lifetime = lifetime
        self._clock = clock
        self._now = now
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._refused: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._last_code = -1

    @property
    def wants_code(self) -> bool:
        """Whether a one-time code has to stand behind the token."""
        return self._key.code_secret is not None

    def sign_in(self, password: str, address: str, kind: Kind) -> tuple[str, Session] | None:
        """Return a new session with its id, or None for a wrong password.  Raises TooManyTries."""
        tries, until = self._refused.get(address, (0, 0.0))
        if until > self._clock():
            raise TooManyTries(until - self._clock())
        if not self._is_right(password):
            wait = min(LONGEST_WAIT, 2.0 ** (tries - FREE_TRIES)) if tries >= FREE_TRIES else 0.0
            self._refused[address] = (tries + 1, self._clock() + wait)
            self._refused.move_to_end(address)
            while len(self._refused) > ADDRESSES:
                self._refused.popitem(last=False)
            return None
        self._refused.pop(address, None)
        name = secrets.token_urlsafe(32)
        session = Session(kind, address, self._clock() + self._lifetime, secrets.token_urlsafe(32))
        self._forget_ended()
        self._sessions[_hash(name)] = session
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return name, session

    def session(self, name: str | None, address: str, kind: Kind) -> Session | None:
        """Return the session of that id, where it is good for this use from this address."""
        session = self._sessions.get(_hash(name or ""))
        if session is None or session.kind != kind or session.address != address:
            return None
        return session if session.ends > self._clock() else None

    def sign_out(self, name: str | None) -> None:
        """End a session; nothing where there is none."""
        self._sessions.pop(_hash(name or ""), None)

    def _is_right(self, password: str) -> bool:
        """Compare in a time that does not depend on how much of it is right."""
        token, code = password, ""
        if self._key.code_secret is not None:
            token, code = password[:-CODE_DIGITS], password[-CODE_DIGITS:]
        right = hmac.compare_digest(token.encode("utf-8", "replace"), self._key.token.encode())
        return right and (self._key.code_secret is None or self._is_new_code(code))

    def _is_new_code(self, code: str) -> bool:
        """Take a one-time code of now or of half a minute around it, once."""
        import pyotp

        assert self._key.code_secret is not None
        codes = pyotp.TOTP(self._key.code_secret, digits=CODE_DIGITS)
        step = int(self._now() // codes.interval)
        for number in (step - 1, step, step + 1):
            expected = codes.generate_otp(number)
            if hmac.compare_digest(code.encode("utf-8", "replace"), expected.encode()) and number > self._last_code:
                self._last_code = number
                return True
        return False

    def _forget_ended(self) -> None:
        ended = [name for name, session in self._sessions.items() if session.ends <= self._clock()]
        for name in ended:
            del self._sessions[name]


def read_key(folder: Path, *, codes: bool, renew: bool = False) -> tuple[Key, bool, bool]:
    """Return the key in ``folder``, and whether its token and its secret of codes are new.

    What is missing is made, in files of mode 0600; with ``renew`` the token is.
    """
    token, token_is_new = _read_or_make(folder / "token", lambda: secrets.token_urlsafe(32), renew=renew)
    if not codes:
        return Key(token), token_is_new, False
    import pyotp

    secret, secret_is_new = _read_or_make(folder / "codes", pyotp.random_base32, renew=False)
    return Key(token, secret), token_is_new, secret_is_new


def _read_or_make(path: Path, make: Callable[[], str], *, renew: bool) -> tuple[str, bool]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if renew:
            path.unlink(missing_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read(path), False
        text = make()
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
        return text, True
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "Give another folder with --folder.") from error


def _read(path: Path) -> str:
    with path.open() as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise UsageError(
                f"{path} may be read by others, so it keeps no secret",
                "Make a new one with: sremote gateway --new-token",
            )
        text = file.read().strip()
    if len(text) < 16:
        raise UsageError(f"{path} holds no token", "Make a new one with: sremote gateway --new-token")
    return text


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "replace")).digest()
