"""Signing in to a NEWT gateway: once when connecting, and once more where the session has ended."""

from __future__ import annotations

import getpass
import logging
import threading
from typing import Any

import requests

from sremote.connectors.credentials import Secret, prompted_secret
from sremote.connectors.errors import HostUnreachable, SignInRefused
from sremote.connectors.http_session import HttpSession
from sremote.connectors.newt_dialect import DIALECTS, Dialect, Newt1, Newt2, Session, recognise
from sremote.connectors.ssh_prompt import Prompt

log = logging.getLogger("sremote.connectors")


class SignIn:
    """The session with a gateway, which all threads share.

    ``user`` defaults to the name of the user here; ``password`` and ``code`` are where
    they come from, None to ask with ``prompt``.  A code is asked for only where
    ``wants_code`` says so or the gateway does; it goes right behind the password, as
    NERSC had it.
    """

    def __init__(
        self,
        http: HttpSession,
        *,
        user: str | None,
        password: Secret | None,
        code: Secret | None,
        wants_code: bool,
        prompt: Prompt | None,
    ) -> None:
        self._http = http
        self._user = user or getpass.getuser()
        self._password = password
        self._code = code
        self._wants_code = wants_code
        self._prompt = prompt
        self._lock = threading.Lock()
        self._count = 0
        self.session = Session(signed_in=False)

    def find_dialect(self, wanted: str | None) -> type[Dialect]:
        """Return the dialect that the gateway speaks, ``wanted`` or found out; notes what it offers beyond it."""
        asked = [DIALECTS[wanted]] if wanted else [Newt1, Newt2]
        for dialect in asked:
            answer = self._http.request("GET", dialect.login_path, idempotent=True)
            found = recognise(answer)
            if found is not None and (wanted is None or found is dialect):
                self.session = found("", self._http.name).session(answer)
                return found
        said = f"{answer.status_code} {answer.reason}"
        raise HostUnreachable(
            f"{self._http.name}: no NEWT gateway answers below {self._http.base} ({said})",
            "Write the address as newt+https://HOST/PREFIX/MACHINE.",
        )

    def sign_in(self, dialect: Dialect, seen: int | None = None) -> None:
        """Sign in; nothing where another thread did since ``seen``, what ``count`` was.  Raises SignInRefused."""
        with self._lock:
            if seen is not None and seen != self._count:
                return
            self._http.forget_cookies()
            password, origin = self._secret()
            form = {"username": self._user, "password": password}
            # Never sent twice: a code is good for one try, and sites lock accounts after some.
            answer = self._http.request("POST", dialect.login_path, form=form)
            if answer.status_code >= 400 and answer.status_code not in (401, 403):
                raise SignInRefused(f"{self._http.name}: the sign-in failed: {answer.status_code} {answer.reason}")
            session = dialect.session(answer) if answer.status_code < 400 else Session(signed_in=False)
            if not session.signed_in:
                raise SignInRefused(
                    f"{self._http.name}: the gateway does not let {self._user} in with the password from {origin}",
                    "See that the user and the password are right, and that a one-time code is new.",
                )
            self.session = session
            self._count += 1
            log.info("%s: signed in as %s", self._http.name, session.user or self._user)

    def ask(self, dialect: Dialect, method: str, path: str, **how: Any) -> requests.Response:
        """Send a request; where the session has ended, sign in again and send it once more."""
        seen = self._count
        answer = self._http.request(method, path, **how)
        if answer.status_code == 401 or (answer.status_code == 403 and not self._still_signed_in(dialect)):
            answer.close()
            log.info("%s: the session has ended; signing in again", self._http.name)
            self.sign_in(dialect, seen)
            answer = self._http.request(method, path, **how)
        return answer

    @property
    def count(self) -> int:
        """How often one has signed in."""
        return self._count

    def sign_out(self, dialect: Dialect) -> None:
        """End the session at the gateway.  Raises LineError where that cannot be said there."""
        if dialect.name == "1":
            self._http.request("GET", "/logout", idempotent=True)
        else:
            self._http.request("DELETE", dialect.login_path, idempotent=True)
        self._http.forget_cookies()

    def _still_signed_in(self, dialect: Dialect) -> bool:
        return dialect.session(self._http.request("GET", dialect.login_path, idempotent=True)).signed_in

    def _secret(self) -> tuple[str, str]:
        """Return the password with the code behind it, and where it came from."""
        password = self._password or self._asked(f"Password of {self._user} at {self._http.name}: ")
        secret = password.read()
        if self._wants_code or self._code is not None or self.session.offers.get("otp") is True:
            code = self._code or self._asked(f"One-time code for {self._http.name}: ")
            secret += code.read()
        return secret, password.origin

    def _asked(self, question: str) -> Secret:
        if self._prompt is None:
            raise SignInRefused(
                f"{self._http.name}: nobody is there to be asked: {question.strip().rstrip(':')}",
                "Give one of the options password_file (mode 0600), password_env or password_command, "
                "and code_command where the site wants a one-time code.",
            )
        return prompted_secret(self._prompt, question)
