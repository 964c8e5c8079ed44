"""Records: what both ends of a ``socket:`` connection say once each has proved that it has the key.

A record is 4 bytes with the length of its content, big endian, the content, and a tag:
HMAC-SHA256, with the direction's own key, of the record's number in this direction
(8 bytes, from 0), the length and the content.  So none can be changed, left out,
repeated or sent back.

The content is 1 byte, what it is; 4 bytes, the number of the command that it belongs
to, which the client counts up from 1, or 0; and the rest.
"""

import hashlib
import hmac
import struct
from typing import Iterator, List, Tuple

from .errors import FormatError
from .wire import Buffer

LARGEST = 1 << 21
"""Bytes of a content, at most: the longest command."""
PIECE = 1 << 16
"""Bytes of a stream that one record carries."""
WINDOW = 1 << 20
"""Bytes of one stream that may be under way to an end that has not read them."""

KEEPALIVE = 15.0
"""Seconds of silence after which an end asks for a sign of life."""
MISSED = 3
"""Times KEEPALIVE without a byte, after which it gives the line up."""

OPEN = 1
"""To the host: start a command; its words, each ended by a zero byte."""
INPUT = 2
"""To the host: bytes for standard input; none are its end."""
KILL = 3
"""To the host: end the command and its process group; nothing more of it is wanted."""
OUTPUT = 4
ERRORS = 5
"""To the client: bytes of standard output or error; none are its end."""
EXIT = 6
"""To the client: 4 bytes, signed: the exit status, or minus the signal that ended it."""
ROOM = 7
"""Both ways: 1 byte, INPUT, OUTPUT or ERRORS, and 4 bytes: so many more of them may be sent."""
DEAF = 8
"""To the client: the command reads no more input."""
PING = 9
PONG = 10
"""Both ways: a sign of life is asked for, and is given."""

_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")
_HEAD = struct.Struct(">IBI")
_TAG = hashlib.sha256().digest_size

Record = Tuple[int, int, bytes]
"""What it is, the command's number, and the rest."""


class Writer:
    """Makes the records of one direction; not for two threads at once."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)
        self._count = 0

    def record(self, kind: int, command: int, rest: Buffer = b"") -> "List[Buffer]":
        """Return the parts of the next record."""
        head = _HEAD.pack(_HEAD.size - _LENGTH.size + len(rest), kind, command)
        tag = self._keyed.copy()
        tag.update(_NUMBER.pack(self._count) + head)
        tag.update(rest)
        self._count += 1
        return [head, rest, tag.digest()]


class Reader:
    """Checks and takes apart the records of one direction."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)
        self._count = 0
        self._data = bytearray()

    def feed(self, data: Buffer) -> Iterator[Record]:
        """Take the next bytes and yield the records that are whole now.  Raises FormatError for one that is wrong."""
        self._data += data
        view = memoryview(self._data)
        position = 0
        try:
            while len(view) - position >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, position)
                if not _HEAD.size - _LENGTH.size <= length <= LARGEST:
                    raise FormatError("a record of {} bytes".format(length))
                end = position + _LENGTH.size + length
                if end + _TAG > len(view):
                    break
                self._check(view[position:end], view[end : end + _TAG])
                _, kind, command = _HEAD.unpack_from(view, position)
                rest = bytes(view[position + _HEAD.size : end])
                position = end + _TAG
                yield kind, command, rest
        finally:
            view.release()
            del self._data[:position]

    def _check(self, content: memoryview, tag: memoryview) -> None:
        expected = self._keyed.copy()
        expected.update(_NUMBER.pack(self._count))
        expected.update(content)
        self._count += 1
        matches = hmac.compare_digest(expected.digest(), tag)
        content.release()
        tag.release()
        if not matches:
            raise FormatError("a record was changed on its way")


def room(stream: int, size: int) -> bytes:
    """Return what a ROOM record says."""
    return struct.pack(">BI", stream, size)


def read_room(rest: bytes) -> Tuple[int, int]:
    """Return the stream and the size of a ROOM record.  Raises FormatError."""
    if len(rest) != 5:
        raise FormatError("a record of room that is not one")
    stream, size = struct.unpack(">BI", rest)
    return stream, size
