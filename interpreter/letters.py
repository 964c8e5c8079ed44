"""The letters that a mailbox and its client leave for each other, as files.

A letter is a magic, the number of the last letter that its writer has taken, the length
and the SHA-256 of what follows, and parts: kind, channel, length, payload.  A file that
is not whole yet is no letter.  A channel is a command that runs over there.
"""

import hashlib
import struct
from typing import Iterable, Iterator, Optional, Tuple

START = 1
"""To the host: a JSON object whose ``argv`` is the command to start."""
INPUT = 2
"""To the host: standard input."""
END_OF_INPUT = 3
KILL = 4
STOP = 5
"""To the host, channel 0: end the mailbox."""
TAKEN = 6
"""Both ways: 8 bytes, how much more of what was sent on the channel has been taken off it."""
OUTPUT = 7
ERRORS = 8
ENDED = 9
"""To the client: 4 bytes, signed: the exit status, or minus a signal's number."""

LEAVE = 10
"""To the host: nobody is at the other end of the channel any more, as where a line has dropped."""

LETTER = 4 << 20
"""Bytes of parts in a letter, more or less: gateways let through 5 MiB at once."""
WINDOW = 8 << 20
"""Bytes that may be on their way on a channel, or wait at its other end, each way."""

MAGIC = b"SREMOTEL"
_HEAD = struct.Struct(">8sQQ32s")
_PART = struct.Struct(">BII")
_COUNT = struct.Struct(">Q")
_STATUS = struct.Struct(">i")

Part = Tuple[int, int, bytes]


def pack_part(kind: int, channel: int, payload: bytes = b"") -> bytes:
    """Return a part of a letter."""
    return _PART.pack(kind, channel, len(payload)) + payload


def pack_letter(taken: int, parts: Iterable[bytes]) -> bytes:
    """Return a letter; ``taken`` is the number of the last letter that has been read here."""
    body = b"".join(parts)
    return _HEAD.pack(MAGIC, taken, len(body), hashlib.sha256(body).digest()) + body


def read_letter(data: bytes) -> Optional[Tuple[int, Iterator[Part]]]:
    """Return the last letter that the writer has taken, and the parts; None where the letter is not whole (yet)."""
    if len(data) < _HEAD.size:
        return None
    magic, taken, length, digest = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if magic != MAGIC or len(body) != length or hashlib.sha256(body).digest() != digest:
        return None
    return taken, _parts(body)


def pack_count(count: int) -> bytes:
    """Return the payload of TAKEN."""
    return _COUNT.pack(count)


def read_count(payload: bytes) -> int:
    """Return what the payload of TAKEN says."""
    (count,) = _COUNT.unpack(payload)
    return int(count)


def pack_status(status: int) -> bytes:
    """Return the payload of ENDED."""
    return _STATUS.pack(status)


def read_status(payload: bytes) -> int:
    """Return what the payload of ENDED says."""
    (status,) = _STATUS.unpack(payload)
    return int(status)


def _parts(body: bytes) -> Iterator[Part]:
    position = 0
    while position < len(body):
        kind, channel, length = _PART.unpack_from(body, position)
        position += _PART.size
        yield kind, channel, body[position : position + length]
        position += length
