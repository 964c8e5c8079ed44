"""The host keys that the user has seen: known_hosts, as sshd(8) describes it.

paramiko's own reader knows no patterns, no markers and no line numbers, and a
message about a changed key must name the line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import paramiko

from sremote.connectors.errors import HostKeyError
from sremote.connectors.ssh_config import SshHost


@dataclass(frozen=True)
class HostKey:
    """A public key that a host showed; ``name`` is what known_hosts calls the host."""

    name: str
    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen -l shows it: ``SHA256:`` and 43 characters."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.kind.removeprefix('ssh-').partition('-')[0].upper()} {self.fingerprint}"


@dataclass(frozen=True)
class _Line:
    """A line of known_hosts that is about the host in question."""

    place: str
    marker: Literal["", "@cert-authority", "@revoked"]
    kind: str
    blob: bytes
    exact: bool
    """Whether it names the port too; a line without one counts only where its key fits."""


class KnownHosts:
    """What is known about the keys of one host."""

    def __init__(self, host: SshHost) -> None:
        self._host = host
        self._lines = [line for path in (*host.known_hosts, *host.system_known_hosts) for line in _read(path, host)]

    @property
    def kinds(self) -> list[str]:
        """The types of the keys that are known, in the order of the files."""
        return list(dict.fromkeys(line.kind for line in self._lines if not line.marker))

    def check(self, key: HostKey) -> None:
        """Raise HostKeyError unless ``key`` is known to be the host's."""
        host = self._host
        revoked = next((line for line in self._lines if line.marker == "@revoked" and line.blob == key.blob), None)
        if revoked:
            raise HostKeyError(
                f"{host.name}: its host key {key.fingerprint} was revoked by {revoked.place}", "Do not connect to it."
            )
        plain = [line for line in self._lines if not line.marker]
        if any(line.blob == key.blob for line in plain):
            return
        other = next((line for line in plain if line.exact), None)
        if other:
            known = HostKey(key.name, other.kind, other.blob)
            raise HostKeyError(
                f"{host.name}: its host key is not the one seen before: it shows {key}, and {other.place} has {known}",
                "Someone may be listening in, or the host was set up anew: ask its administrators.  If the new key is "
                f"theirs, remove the old one with: ssh-keygen -R '{key.name}' -f {other.place.rpartition(':')[0]}",
            )
        authority = next((line for line in self._lines if line.marker == "@cert-authority"), None)
        if authority:
            raise HostKeyError(
                f"{host.name}: its host key is vouched for by a certificate authority ({authority.place}), "
                "which the ssh connector cannot check",
                f"Use the ssh program: openssh://{host.name.partition('://')[2] or host.name}",
            )
        raise HostKeyError(
            f"{host.name}: its host key is not known yet: {key}",
            "Compare it with what the host's administrators publish.  If it is theirs, accept it with: "
            f"sremote doctor {host.name} --option accept_host_key={key.fingerprint}",
        )


def remember_host_key(host: SshHost, key: HostKey) -> Path:
    """Append ``key`` to the user's known_hosts, and return the file's path.  Raises HostKeyError where it cannot."""
    path = host.known_hosts[0]
    name = paramiko.HostKeys.hash_host(key.name) if host.hash_known_hosts else key.name
    line = f"{name} {key.kind} {base64.b64encode(key.blob).decode()}\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("r+b") as file:
            content = file.read()
            newline = b"" if content.endswith(b"\n") or not content else b"\n"
            file.write(newline + line.encode())
    except OSError as error:
        raise HostKeyError(f"{host.name}: its key cannot be written to {path}: {error.strerror}") from error
    return path


def _read(path: Path, host: SshHost) -> Iterator[_Line]:
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostKeyError(f"{host.name}: {path} cannot be read: {error.strerror}") from error
    for number, words in enumerate((line.split() for line in text.splitlines()), start=1):
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker not in ("", "@cert-authority", "@revoked"):
            continue
        exact = _names(words[0], host.key_name)
        if not exact and not _names(words[0], host.key_alias or host.host):
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except binascii.Error:
            continue
        yield _Line(f"{path}:{number}", marker, words[1], blob, exact)  # type: ignore[arg-type]


def _names(patterns: str, name: str) -> bool:
    """Whether the first field of a line is about ``name``: a hash, or patterns with * ? and !."""
    name = name.lower()
    if patterns.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in patterns[3:].split("|"))
        except ValueError:
            return False
        return hmac.compare_digest(hmac.new(salt, name.encode(), "sha1").digest(), digest)
    found = False
    for pattern in patterns.lower().split(","):
        if _fits(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _fits(pattern: str, name: str) -> bool:
    # Not fnmatch: the brackets of [host]:port are themselves.
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name) is not None


def algorithms_first(known: Sequence[str], offered: Sequence[str]) -> list[str]:
    """Return the ``offered`` host key algorithms, those of ``known`` key types first.

    Else a host would show a key of a type that was never seen, and seem to be another.
    """
    wanted = {name for kind in known for name in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))}
    return sorted(offered, key=lambda name: name not in wanted)
