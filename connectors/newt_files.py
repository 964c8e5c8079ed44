"""Files through ``sremote gateway``: one request each, of any size, with checksums (RFC 9530's Repr-Digest)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import BinaryIO

from sremote.connectors.errors import HostError
from sremote.connectors.http_body import content, measured
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
    """Copy a file into ``target``, as ``Connector.get`` says."""
    headers = {"Want-Repr-Digest": "sha-256=1", "Accept-Encoding": "identity"}
    query = {"path": _exact(path)}
    answer = ask("GET", FILES, query=query, headers=headers, stream=True, idempotent=True, timeout=TRANSFER_TIMEOUT)
    with answer:
        dialect.check(answer, f"read {path}")
        digest = sha256_in(answer.headers.get("Repr-Digest", ""))
        if digest is None or not answer.headers.get("Content-Length", "").isdigit():
            raise HostError(f"{where}: cannot read {path}: the gateway's answer has no checksum or no length")
        size = int(answer.headers["Content-Length"])
        for data in content(answer, size=size, sha256=digest, where=where):
            target.write(data)


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
