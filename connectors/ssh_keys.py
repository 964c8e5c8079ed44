"""The user's keys: files, their certificates, and those that the ssh agent holds."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.agent import AgentKey, AgentSSH
from paramiko.pkey import PublicBlob

AGENT_TIMEOUT = 60.0
"""Seconds that the agent may take; it may be asking its user to confirm."""
CERTIFICATE = "-cert-v01@openssh.com"

_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2}
"""How many fields of a certificate are the key's own; those of an ECDSA key are 2: PROTOCOL.certkeys."""
_FOREVER = (1 << 64) - 1

log = logging.getLogger("sremote.connectors")


@dataclass(frozen=True)
class Certificate:
    """An OpenSSH user certificate: the key that it is for, and when it holds (seconds since 1970)."""

    path: Path
    key_blob: bytes
    valid_after: int
    valid_before: int

    @property
    def problem(self) -> str:
        """Why it is of no use now; empty where it is."""
        now = time.time()
        if now >= self.valid_before:
            return f"certificate {self.path} expired at {_moment(self.valid_before)}"
        if now < self.valid_after:
            return f"certificate {self.path} is not valid before {_moment(self.valid_after)}"
        return ""


@dataclass(frozen=True)
class Identity:
    """A key file: the public key where it can be told, and whether a passphrase is needed.

    ``problem`` is why paramiko cannot use the file itself; an agent may hold its key.
    """

    path: Path
    kind: str = ""
    blob: bytes | None = None
    encrypted: bool = False
    problem: str = ""

    def load(self, passphrase: str | None = None) -> paramiko.PKey:
        """Return the private key.  Raises ValueError where the passphrase is wrong or the file is damaged."""
        kinds = {"ssh-rsa": paramiko.RSAKey, "ssh-ed25519": paramiko.Ed25519Key}
        try:
            return kinds.get(self.kind, paramiko.ECDSAKey).from_private_key_file(str(self.path), passphrase)
        except (paramiko.SSHException, ValueError, TypeError, IndexError) as error:
            raise ValueError(str(error)) from error


def read_identity(path: Path) -> Identity | None:
    """Look at a key file without decrypting it; None where there is none."""
    public = _public_blob(Path(f"{path}.pub"))
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return Identity(path, blob=public, problem=f"key {path} is not there") if public else None
    except OSError as error:
        return Identity(path, blob=public, problem=f"key {path} cannot be read: {error.strerror}")
    if "BEGIN OPENSSH PRIVATE KEY" in text:
        return _openssh_identity(path, text)
    if match := re.search("BEGIN (RSA|EC) PRIVATE KEY", text):
        return Identity(path, "ssh-rsa" if match[1] == "RSA" else "ecdsa", public, encrypted="ENCRYPTED" in text)
    blob = _public_blob(path)
    if blob:
        return Identity(
            path, blob=blob, problem=f"key {path} is a public key, and the agent does not hold its other half"
        )
    return Identity(
        path,
        blob=public,
        problem=f"key {path} has a format that paramiko cannot read (ssh-keygen -p -f {path} mends it)",
    )


def read_certificate(path: Path) -> Certificate | None:
    """Return the certificate of a file; None where it holds none."""
    blob = _public_blob(path)
    if blob is None:
        return None
    message = paramiko.Message(blob)
    kind = message.get_text()
    if not kind.endswith(CERTIFICATE):
        return None
    plain = kind.removesuffix(CERTIFICATE)
    key = paramiko.Message()
    key.add_string(plain)
    message.get_binary()  # nonce
    for _ in range(_FIELDS.get(plain, 2)):
        key.add_string(message.get_binary())
    message.get_int64()  # serial
    message.get_int()  # type
    message.get_binary()  # key id
    message.get_binary()  # principals
    return Certificate(path, key.asbytes(), message.get_int64(), message.get_int64())


def certificates_of(identity: Identity, named: Sequence[Certificate]) -> list[Certificate]:
    """Return the certificates for a key: those ``named`` in the configuration, and the one beside its file."""
    beside = read_certificate(Path(f"{identity.path}-cert.pub"))
    fitting = [certificate for certificate in named if certificate.key_blob == identity.blob]
    return [*fitting, beside] if beside and beside not in fitting else fitting


class Agent(AgentSSH):
    """The ssh agent that listens on a socket; ``keys`` are what it holds, by public key."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.keys: dict[bytes, AgentKey] = {}
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(AGENT_TIMEOUT)
        try:
            connection.connect(path)
            self._connect(connection)
        except (OSError, paramiko.SSHException, EOFError) as error:
            connection.close()
            log.info("the ssh agent at %s does not answer: %s", path, error)
            return
        for key in self.get_keys():
            if key.name.endswith(CERTIFICATE):
                # paramiko would offer the plain key under the certificate's name.
                key.public_blob = PublicBlob(key.name, key.blob)
            self.keys[key.blob] = key

    def close(self) -> None:
        self._close()


def _openssh_identity(path: Path, text: str) -> Identity:
    """Read the open part of an OpenSSH private key: PROTOCOL.key."""
    body = "".join(line for line in text.splitlines() if not line.startswith("-----"))
    try:
        data = base64.b64decode(body)
        magic = b"openssh-key-v1\0"
        if not data.startswith(magic):
            raise ValueError("it does not begin with its magic word")
        message = paramiko.Message(data[len(magic) :])
        cipher, _kdf, _options, _count = (
            message.get_text(),
            message.get_binary(),
            message.get_binary(),
            message.get_int(),
        )
        blob = message.get_binary()
        kind = paramiko.Message(blob).get_text()
    except (binascii.Error, ValueError) as error:
        return Identity(path, problem=f"key {path} is damaged: {error}")
    problem = ""
    if kind.startswith("sk-"):
        problem = f"key {path} needs its security token, which only the ssh program can ask (openssh://)"
    return Identity(path, kind, blob, encrypted=cipher != "none", problem=problem)


def _public_blob(path: Path) -> bytes | None:
    try:
        words = path.read_text(errors="replace").split()
        return base64.b64decode(words[1], validate=True) if len(words) > 1 else None
    except (OSError, binascii.Error):
        return None


def _moment(seconds: int) -> str:
    if seconds >= _FOREVER:
        return "the end of time"
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))
