"""The key file that both ends of a ``socket:`` connection have, readable by its owner only.

    sremote key 1
    key: 43 characters that nobody can guess
    -----BEGIN CERTIFICATE-----     the server's, which the client takes no other for
    -----BEGIN PRIVATE KEY-----     the certificate's own; only the server needs it

Lines that it does not know are passed over.
"""

import base64
import binascii
import hashlib
import os
import re
import stat
from typing import Optional

from .errors import SremoteError

FIRST_LINE = "sremote key 1"
SHORTEST = 16
"""Characters of a key, at least: anybody may try keys at an open port."""
_KEY = re.compile(r"^key:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)


class KeyFileError(SremoteError, ValueError):
    """A key file that is missing, open to others or not a key file."""

    exit_status = 2


class Key:
    """What a key file holds: the secret, and the certificate's fingerprint where it has one."""

    def __init__(self, secret: bytes, fingerprint: Optional[bytes] = None, path: str = "", text: str = "") -> None:
        self.secret = secret
        self.fingerprint = fingerprint
        self.path = path
        self.text = text
        """The content of the file."""

    def __repr__(self) -> str:
        return "<Key of {}>".format(self.path or "unknown origin")


def read_key(path: str) -> Key:
    """Read a key file.  Raises KeyFileError where others may read or change it, or where it holds no key."""
    try:
        with open(path, encoding="utf-8") as file:
            held = os.fstat(file.fileno())
            text = file.read(1 << 16)
    except OSError as error:
        raise KeyFileError(
            "{}: the key file cannot be read: {}".format(path, error.strerror),
            "Make one with: sremote serve --generate-key FILE",
        ) from None
    except UnicodeDecodeError:
        raise KeyFileError("{} is not a key file".format(path)) from None
    if stat.S_IMODE(held.st_mode) & 0o077 or held.st_uid not in (0, os.geteuid()):
        raise KeyFileError("{}: others may read this key".format(path), "Type: chmod 600 {}".format(path))
    return parse_key(text, path)


def parse_key(text: str, path: str = "the text") -> Key:
    """Read the content of a key file.  Raises KeyFileError."""
    found = _KEY.search(text)
    if not text.startswith(FIRST_LINE) or found is None:
        raise KeyFileError("{} is not a key file".format(path), "Make one with: sremote serve --generate-key FILE")
    certificate = _CERTIFICATE.search(text)
    try:
        fingerprint = digest_of(base64.b64decode(certificate.group(1))) if certificate else None
    except binascii.Error:
        raise KeyFileError("{}: its certificate is damaged".format(path)) from None
    return Key(found.group(1).encode("utf-8"), fingerprint, path, text)


def digest_of(certificate: bytes) -> bytes:
    """Return the fingerprint of a certificate in DER: its SHA-256."""
    return hashlib.sha256(certificate).digest()


def show_fingerprint(fingerprint: bytes) -> str:
    """Return a fingerprint as people compare it: ``sha256:`` and 64 hex digits."""
    return "sha256:" + fingerprint.hex()
