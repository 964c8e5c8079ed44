"""The frames of a stream between a client and the interpreter that serves it.

A frame is a head of 9 bytes, big endian, and a payload:

    1 byte   what it is, one of the constants below
    4 bytes  the call that it belongs to, a number that the client counts up
    4 bytes  length of the payload, at most CHUNK

Requests and responses larger than a frame go on in DATA frames, so that the
frames of several calls can take turns.
"""

import struct

from .errors import FormatError

TYPE_CHECKING = False  # as typing has it, whose import takes as long as Python's start
if TYPE_CHECKING:
    from typing import Iterator, Sequence, Tuple, Union

    from .wire import Buffer

    Frame = Tuple[int, int, memoryview]

HEAD = struct.Struct(">BII")
CHUNK = 1 << 17
SMALL = 1 << 14
"""Bytes of a payload that are copied behind its head, so that both go in one piece."""

CALL = 1
"""To the host: one byte with the length of the job's id, the id, 8 bytes with the size
of the request, and as much of the request as fits."""
DATA = 2
"""Both ways: what follows of a request or response."""
DONE = 3
"""To the host: the response has arrived, the job may go; with a payload, its id is remembered."""
CANCEL = 4
"""To the host: stop the job and its children, and remove it."""
BUNDLE = 5
"""To the host: the zip of the interpreter, for one whose HELLO said that it is missing."""
HELLO = 6
"""To the client, first of all: a JSON object that says what the host is."""
STDOUT = 7
STDERR = 8
"""To the client: what the job prints, as it does."""
RESPONSE = 9
"""To the client: 8 bytes with the size of the response, and as much of it as fits."""
UNKNOWN = 10
"""To the client: a sentence; the job was claimed elsewhere and cannot be judged from here."""
REFUSED = 11
"""To the client: a sentence; the request could not be kept, and nothing was run."""

SESSION = 12
"""To the host, first of all: this stream is a session; a JSON object with its options."""
EVALUATE = 13
"""To a session: 2 bytes with the length of the function's name, ``module:function``, and the
pickle of its arguments and keywords; for a call that fits a frame and holds no arrays."""
VALUE = 14
"""From a session: the pickle of the value that EVALUATE's function returned."""
PRELOAD = 15
"""To the host: a JSON list of modules to import now, so that every call finds them imported."""

SUBMIT = 16
"""To the host: as CALL, for a job that nobody waits for on this line."""
ACCEPTED = 17
"""To the client: SUBMIT's job is on disk, and will run whatever becomes of this line."""

# Between the two ends of a session; the number is that of a channel, odd where the client made it.
OPEN = 20
"""To a session: 8 bytes with the size of a request, and as much of it as fits; DATA follows."""
ITEM = 21
"""A value sent on a channel: all of it, or its last part."""
PART = 22
"""A part of a value that goes on in the next PART or ITEM of the channel."""
CREDIT = 23
"""8 bytes: how much may be sent on the channel in all; see channel.py."""
CLOSE = 24
"""Nothing more will come or be taken; empty, or a JSON object that describes an error.  Of
number 0, to a session: end at once, with all children."""
ANNOUNCE = 25
"""A channel of this number is about to arrive in a value."""


def pack(kind: int, call: int, payload: "Union[bytes, bytearray, memoryview]") -> bytes:
    """Return a frame whose payload is small enough to be copied."""
    return HEAD.pack(kind, call, len(payload)) + bytes(payload)


def pieces(buffers: "Sequence[Buffer]", first: int) -> "Iterator[memoryview]":
    """Cut buffers into pieces that fit a frame, ``first`` bytes for the first one; at least one piece."""
    room, empty = first, True
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        while view:
            yield view[:room]
            view, room, empty = view[room:], CHUNK, False
    if empty:
        yield memoryview(b"")


class FrameReader:
    """Cuts a stream of bytes into frames of kinds up to ``highest``."""

    def __init__(self, highest: int = ANNOUNCE) -> None:
        self._rest = b""
        self._highest = highest

    def feed(self, data: bytes) -> "Iterator[Frame]":
        """Take the next bytes of the stream and yield the frames that are whole now.

        A payload is a view that nobody writes to.  Raises FormatError where the bytes
        are not frames.
        """
        view = memoryview(self._rest + data if self._rest else data)
        position = 0
        while len(view) - position >= HEAD.size:
            kind, call, length = HEAD.unpack_from(view, position)
            if length > CHUNK or not CALL <= kind <= self._highest:
                raise FormatError("the stream is damaged: frame of kind {}, {} bytes".format(kind, length))
            end = position + HEAD.size + length
            if end > len(view):
                break
            yield kind, call, view[position + HEAD.size : end]
            position = end
        self._rest = bytes(view[position:])
