"""Files through ``sremote gateway``: one request each, of any size, with checksums (RFC 9530's Repr-Digest)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import BinaryIO

import requests

from sremote.connectors.errors import ConnectionLost, HostError
from sremote.connectors.http_body import CHUNK, measured
from sremote.connectors.newt_dialect import Ask, Dialect
from sremote.connectors.stream import from_home

FILES = "/sremote/files"
"""The path of the gateway's own way to files; ``path`` in the query is exact, whatever bytes it holds."""
MODE = "Sremote-Mode"
"""The request header with a file's permission bits, in octal."""
TRANSFER_TIMEOUT = 300.0
"""Seconds for the gateway to compute a checksum and begin its answer."""


def put(ask: Ask, dialect: Dialect, source: bytes | BinaryIO, path: str, mode: int) -> None:
    """Write a file, as ``Connector.put`` says."""
    with measured(source) as measure:
        headers = {
            MODE: f"{mode:o}",
            "Repr-Digest": digest_field(measure.sha256),
            "Content-Type": "application/octet-stream",
        }
        query = {"path": _exact(path)}
        answer = ask(
            "PUT", FILES, query=query, body=measure.body, headers=headers, idempotent=True, timeout=TRANSFER_TIMEOUT
        )
    dialect.check(answer, f"write {path}")


def get(ask: Ask, dialect: Dialect, path: str, target: BinaryIO, where: str) -> None:
    """Copy a file into ``target``, as ``Connector.get`` says; after a drop of the line it goes on where it was."""
    copy = _Copy(target, where)
    while True:
        headers = {"Want-Repr-Digest": "sha-256=1", "Accept-Encoding": "identity"}
        if copy.size:
            headers.update({"Range": f"bytes={copy.size}-", "If-Range": copy.tag})
        query = {"path": _exact(path)}
        answer = ask("GET", FILES, query=query, headers=headers, stream=True, idempotent=True, timeout=TRANSFER_TIMEOUT)
        with answer:
            dialect.check(answer, f"read {path}")
            try:
                copy.take(answer)
                return
            except requests.RequestException as error:
                if not copy.has_grown:
                    raise ConnectionLost(
                        f"{where}: the line dropped while {path} was on its way here", "Try again."
                    ) from error


class _Copy:
    """A file on its way here, over one answer or several."""

    def __init__(self, target: BinaryIO, where: str) -> None:
        self._target = target
        self._where = where
        self._checked = hashlib.sha256()
        self.size = 0
        """Bytes that have been written."""
        self.tag = ""
        """The gateway's name for this state of the file."""
        self.has_grown = False
        """Whether the latest answer brought anything."""

    def take(self, answer: requests.Response) -> None:
        """Write what an answer brings, and check the whole.  Raises RequestException where it ends early."""
        digest = sha256_in(answer.headers.get("Repr-Digest", ""))
        length = answer.headers.get("Content-Length", "")
        if digest is None or not length.isdigit():
            raise HostError(f"{self._where}: cannot read the file: the gateway's answer has no checksum or no length")
        if self.size and answer.status_code != 206:
            raise ConnectionLost(f"{self._where}: the file was changed while it was on its way here", "Try again.")
        self.tag = answer.headers.get("ETag", "")
        self.has_grown = False
        for data in answer.iter_content(CHUNK):
            self._target.write(data)
            self._checked.update(data)
            self.size += len(data)
            self.has_grown = True
        if self._checked.hexdigest() != digest:
            raise ConnectionLost(f"{self._where}: the file was changed or cut on its way here", "Try again.")


def digest_field(sha256: str) -> str:
    """Return the value of a Repr-Digest header; ``sha256`` is in hexadecimal."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def sha256_in(field: str) -> str | None:
    """Return the SHA-256 of a Repr-Digest header, in hexadecimal; None where it holds none."""
    match = re.search(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/=]+):", field)
    if match is None:
        return None
    try:
        found = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None
    return found.hex() if len(found) == 32 else None


def _exact(path: str) -> bytes:
    """Return a path's bytes, for the query: a name need not be UTF-8."""
    try:
        return from_home(path).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise HostError(f"{path!r} cannot be a file's name") from None
