"""The two dialects of NEWT: what NERSC served from 2010 on, and NEWT 2.0.

Version 1 answers each request in its own way.  Version 2.0 (github.com/NERSC/newt-2.0)
stands below ``/api`` and puts every JSON answer into an envelope: ``{"status":
"OK|ERROR", "status_code": …, "output": …, "error": ""}``.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import requests

from sremote.connectors.base import Completed
from sremote.connectors.errors import (
    FileMissing,
    HostError,
    HostFull,
    PermissionRefused,
)
from sremote.connectors.stream import refusal

_REFUSALS: dict[int, type[HostError]] = {
    401: PermissionRefused,
    403: PermissionRefused,
    404: FileMissing,
    413: HostFull,
    507: HostFull,
}
_SHOWN = 300
"""Characters of a gateway's own words that a message holds."""


@dataclass(frozen=True)
class Session:
    """What a gateway says of a session."""

    signed_in: bool
    user: str = ""
    lifetime: float | None = None
    """Seconds that it lasts."""
    offers: Mapping[str, Any] = field(default_factory=dict)
    """What ``sremote gateway`` offers beyond NEWT; empty for other gateways."""


@dataclass(frozen=True)
class CommandOutput:
    """A command's answer as a gateway gives it: two texts and no exit status, or one that is not relied on."""

    output: str
    error: str


class Ask(Protocol):
    """Sends a request as ``HttpSession.request`` does, signing in again once where the session has ended."""

    def __call__(self, method: str, path: str, **how: Any) -> requests.Response: ...


Execute = Callable[[Sequence[str]], Completed]
"""Runs a command on the machine."""


class Dialect(abc.ABC):
    """A version of NEWT, spoken with one machine behind the gateway."""

    name: str
    login_path: str
    _prefix: str
    _read_query: Mapping[str, str]

    def __init__(self, machine: str, where: str) -> None:
        self.machine = quote(machine, safe="")
        self.where = where

    @abc.abstractmethod
    def session(self, answer: requests.Response) -> Session:
        """Read the answer to a sign-in, or to the question whether one is signed in."""

    @abc.abstractmethod
    def command(self, ask: Ask, line: str, *, timeout: float) -> CommandOutput:
        """Have the machine run a line, sent once; wait up to ``timeout`` seconds for the answer."""

    @abc.abstractmethod
    def payload(self, answer: requests.Response) -> Any:
        """Return what an answer in JSON holds.  Raises HostError where it tells of a failure."""

    def file_path(self, path: str) -> str:
        """Return the URL's path for a file of the machine; ``path`` is absolute."""
        return f"{self._prefix}/file/{self.machine}{quote(path)}"

    def read(self, ask: Ask, path: str, *, timeout: float) -> requests.Response:
        """Ask for a file's content, which is still to be read from the answer.  Raises HostError for a refusal."""
        answer = ask("GET", self.file_path(path), query=self._read_query, stream=True, idempotent=True, timeout=timeout)
        self.check(answer, f"read {path}")
        return answer

    def check(self, answer: requests.Response, deed: str) -> None:
        """Raise the HostError that a refusal means."""
        if answer.status_code >= 400:
            raise self._refusal(answer, deed)

    def list(self, ask: Ask, path: str) -> list[dict[str, Any]]:
        """Return a folder's entries: ``{perms, hardlinks, user, group, size, date, name, symlink}``."""
        entries = self._json(ask("GET", self.file_path(path), idempotent=True), f"list {path}")
        if not isinstance(entries, list):
            raise HostError(f"{self.where}: cannot list {path}: the gateway's answer is not a list")
        return entries

    @abc.abstractmethod
    def delete(self, ask: Ask, path: str, execute: Execute) -> None:
        """Delete a file.  Raises HostError for a refusal."""

    @property
    @abc.abstractmethod
    def queue_path(self) -> str:
        """The URL's path of the machine's queue; a job's number goes behind it."""

    def _json(self, answer: requests.Response, deed: str) -> Any:
        self.check(answer, deed)
        return self.payload(answer)

    def _decode(self, answer: requests.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise HostError(
                f"{self.where}: the gateway's answer is not JSON: {_line(answer.text)}",
                "See whether the address leads to a NEWT gateway.",
            ) from None

    def _refusal(self, answer: requests.Response, deed: str) -> HostError:
        kind = _REFUSALS.get(answer.status_code, HostError)
        said = _said(answer)
        return kind(f"{self.where}: cannot {deed}: {said or f'{answer.status_code} {answer.reason}'}")


class Newt1(Dialect):
    """NEWT as it was served below https://newt.nersc.gov/newt."""

    name = "1"
    login_path = "/login"
    _prefix = ""
    _read_query = {"view": "read"}  # noqa: RUF012 - never changed

    @property
    def queue_path(self) -> str:
        return f"/queue/{self.machine}"

    def session(self, answer: requests.Response) -> Session:
        found = self._decode(answer)
        return _session(found if isinstance(found, dict) else {})

    def payload(self, answer: requests.Response) -> Any:
        found = self._decode(answer)
        if isinstance(found, dict) and found.get("status") == "ERROR":
            raise HostError(f"{self.where}: the gateway refused: {_line(str(found.get('error') or 'it says not why'))}")
        return found

    def command(self, ask: Ask, line: str, *, timeout: float) -> CommandOutput:
        form = {"executable": line, "loginenv": "false"}
        answer = ask("POST", f"/command/{self.machine}", form=form, timeout=timeout)
        self.check(answer, "run a command")
        found = self._decode(answer)
        if not isinstance(found, dict) or "output" not in found:
            raise HostError(f"{self.where}: the gateway's answer to a command has no output: {_line(answer.text)}")
        return CommandOutput(str(found["output"] or ""), str(found.get("error") or ""))

    def delete(self, ask: Ask, path: str, execute: Execute) -> None:
        # Not sent again: the second would find the file missing.
        self._json(ask("DELETE", self.file_path(path)), f"delete {path}")


class Newt2(Dialect):
    """NEWT 2.0."""

    name = "2"
    login_path = "/api/auth"
    _prefix = "/api"
    _read_query = {"download": "1"}  # noqa: RUF012 - never changed

    @property
    def queue_path(self) -> str:
        return f"/api/job/{self.machine}"

    def session(self, answer: requests.Response) -> Session:
        if answer.status_code in (401, 403):
            return Session(signed_in=False)
        found = self._decode(answer)
        output = found.get("output") if isinstance(found, dict) else None
        return _session(output if isinstance(output, dict) else {})

    def payload(self, answer: requests.Response) -> Any:
        found = self._decode(answer)
        if not isinstance(found, dict) or "output" not in found:
            raise HostError(f"{self.where}: the gateway's answer is not one of NEWT 2.0: {_line(answer.text)}")
        if found.get("status") == "ERROR":
            raise HostError(f"{self.where}: the gateway refused: {_line(str(found.get('error') or 'it says not why'))}")
        return found["output"]

    def command(self, ask: Ask, line: str, *, timeout: float) -> CommandOutput:
        answer = ask("POST", f"/api/command/{self.machine}", form={"command": line}, timeout=timeout)
        found = self._json(answer, "run a command")
        if not isinstance(found, dict):
            raise HostError(f"{self.where}: the gateway's answer to a command has no output")
        return CommandOutput(str(found.get("output") or ""), str(found.get("error") or ""))

    def delete(self, ask: Ask, path: str, execute: Execute) -> None:
        done = execute(["env", "LC_ALL=C", "rm", "--", path])
        if done.status != 0:
            raise refusal(self.where, "delete", path, done.status, done.stderr)


DIALECTS: dict[str, type[Dialect]] = {"1": Newt1, "2": Newt2}


def recognise(answer: requests.Response) -> type[Dialect] | None:
    """Return the dialect that an answer to the question "am I signed in?" is in; None where it is neither."""
    try:
        found = answer.json()
    except ValueError:
        return None
    if isinstance(found, dict) and "status_code" in found:
        return Newt2
    return Newt1 if isinstance(found, dict) and "auth" in found else None


def _session(found: Mapping[str, Any]) -> Session:
    lifetime = found.get("session_lifetime")
    offers = found.get("sremote")
    return Session(
        signed_in=found.get("auth") is True,
        user=str(found.get("username") or ""),
        lifetime=float(lifetime) if isinstance(lifetime, int | float) else None,
        offers=offers if isinstance(offers, dict) else {},
    )


def _said(answer: requests.Response) -> str:
    """Return a refusal in the gateway's own words, where it has any for people."""
    try:
        found = json.loads(answer.content[: 1 << 16])
    except (ValueError, requests.RequestException):
        return ""
    return _line(str(found.get("error") or found.get("detail") or "")) if isinstance(found, dict) else ""


def _line(text: str) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
