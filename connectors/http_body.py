"""Files as bodies of HTTP: measured before they are sent, and never taken for whole when they are not."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import requests

from sremote.connectors.errors import ConnectionLost, HostError

CHUNK = 1 << 17
_IN_MEMORY = 1 << 20
"""Bytes of a source that cannot seek which are kept in memory; more goes to a temporary file."""


@dataclass(frozen=True)
class Source:
    """Content to send, from where its file stands: its size in bytes and its SHA-256 in hexadecimal."""

    file: BinaryIO
    start: int
    size: int
    sha256: str

    def read(self) -> bytes:
        """Return all of it."""
        self.file.seek(self.start)
        return self.file.read(self.size)

    def body(self) -> Body:
        """Return it as the body of a request, from its beginning: each try needs its own."""
        self.file.seek(self.start)
        return Body(self.file, self.size)


class Body:
    """A part of a file that knows its length, so that it goes with a Content-Length."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._left = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(CHUNK):
            yield data

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; all that are left where it is negative."""
        wanted = self._left if size < 0 else min(max(size, CHUNK), self._left)
        data = self._file.read(wanted)
        self._left -= len(data)
        return data


@contextmanager
def measured(source: bytes | BinaryIO) -> Iterator[Source]:
    """Give the content of a source; one that cannot seek is copied to a temporary file first."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        if isinstance(source, bytes):
            file: BinaryIO = io.BytesIO(source)
        elif source.seekable():
            file = source
        else:
            shutil.copyfileobj(source, copy, CHUNK)
            copy.seek(0)
            file = copy  # type: ignore[assignment]
        start = file.tell()
        checked, size = hashlib.sha256(), 0
        while data := file.read(CHUNK):
            checked.update(data)
            size += len(data)
        yield Source(file, start, size, checked.hexdigest())


def content(answer: requests.Response, *, size: int, sha256: str, where: str) -> Iterator[bytes]:
    """Yield the content of a file that has that size and checksum ("" where none is known), piece by piece.

    Nothing is yielded of a body of another length, such as an error's.  Raises
    ConnectionLost where it ends early or is not what it should be.
    """
    stated = answer.headers.get("Content-Length")
    if stated is not None and stated != str(size):
        raise HostError(f"{where}: the gateway sent {stated} bytes in place of a file of {size}")
    checked, came = hashlib.sha256(), 0
    held = b"" if stated is not None else None
    try:
        for data in answer.iter_content(CHUNK):
            came += len(data)
            if came > size:
                break
            checked.update(data)
            if held is None and came < size and came <= CHUNK:
                held = data  # as short as an error's page: wait for more
                continue
            yield (held or b"") + data
            held = b""
    except requests.RequestException as error:
        raise ConnectionLost(f"{where}: the line dropped while a file was on its way here", "Try again.") from error
    if came != size or (sha256 and checked.hexdigest() != sha256):
        raise ConnectionLost(f"{where}: a file was changed or cut on its way here", "Try again.")
