"""What the two sides of a copy of files say to each other.

One side sends a tree (a folder with all below it, or one file), the other receives
it; either may be the client.  Frames are laid out as in ``frames``; the number in
their heads is that of an entry, as the sender counts them from 0.  Texts are JSON;
names are UTF-8, and bytes that are not are surrogates, as ``surrogateescape`` has it.
"""

import json
import threading
import time
import zlib
from typing import Any, Callable, Optional, Union

from .errors import FormatError
from .frames import CHUNK, HEAD, FrameReader

LIST = 1
"""From the sender: a JSON list of entries ``[path, kind, mode, mtime, what]``, the first of which has the
frame's number.  ``path`` is relative to the tree's root, which is "" and comes first; folders come before
what is in them.  ``kind`` is f, d or l; ``mode`` the permission bits; ``mtime`` in nanoseconds;
``what`` the size of a file in bytes, the target of a link."""
LISTED = 2
"""From the sender: there are as many entries as the number says.  The payload is 1 where all could be read."""
ANSWER = 3
"""From the receiver: JSON ``{"want": [number, …], "have": [[number, digest, same], …]}``.  What it wants
is to be sent; what it has is of the same size, ``digest`` is the SHA-256 of its content, and ``same``
tells whether permissions and time are right too.  Entries that need nothing are not named."""
ANSWERED = 4
"""From the receiver: every entry has been answered.  The number is 1 where nothing is left to do if all that it
has is the same; the payload is then that of DONE."""
PIECE = 5
"""From the sender: the next bytes of a file."""
LAST = 6
"""From the sender: the CRC-32 of the whole content, and its last bytes."""
SAME = 7
"""From the sender: the digest is right; permissions and time are to be set."""
SKIP = 8
"""From the sender: this file could not be read whole, and will not come."""
FINISH = 9
"""From the sender: all that was wanted has been sent."""
DONE = 10
"""From the receiver, when all is in place, or as soon as it is of no use to go on: a JSON list of what failed."""
FAILED = 11
"""From the sender: one thing that could not be read, as in DONE: JSON ``[path, errno, text]``."""
LEFT_OUT = 12
"""From the sender: the JSON text of a path that is neither file, folder nor link, and is not copied."""
PACKED = 13
"""From the sender: frames, compressed by zlib; none is PACKED."""

PIECE_SIZE = CHUNK - HEAD.size
"""Bytes of content in a frame: it fills an ssh packet with its head."""
PACKED_LIMIT = 2 * CHUNK
"""Bytes that a PACKED frame may unpack to."""
SLOW_LINE = 12e6
"""Bytes a second below which zlib's fastest level gains more than it costs, on what it makes a tenth smaller."""
MEASURED = 0.25
"""Seconds that the sender must have waited for the line before its speed is known."""
_FORGET = 4.0
_SAMPLE = 1 << 14

Payload = Union[bytes, bytearray, memoryview]


def to_text(path: bytes) -> str:
    """Return a path as JSON has it."""
    return path.decode("utf-8", "surrogateescape")


def to_bytes(path: str) -> bytes:
    """Return a path as the system has it."""
    return path.encode("utf-8", "surrogateescape")


def parse(payload: Payload) -> Any:
    """Return the JSON value of a frame.  Raises FormatError."""
    try:
        return json.loads(bytes(payload).decode("ascii"))
    except ValueError as error:
        raise FormatError("a frame is damaged: {}".format(error))


def ignore(*_: object) -> None:
    """Take no notice."""


class Incoming:
    """Cuts what arrives into frames, packed ones too, and hands each to ``take``: kind, number, payload."""

    def __init__(self, take: Callable[[int, int, memoryview], None]) -> None:
        self._take = take
        self._frames = FrameReader(PACKED)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream.  Raises FormatError where they are not frames."""
        for kind, number, payload in self._frames.feed(data):
            if kind != PACKED:
                self._take(kind, number, payload)
                continue
            unpack = zlib.decompressobj()
            try:
                unpacked = unpack.decompress(payload, PACKED_LIMIT)
            except zlib.error as error:
                raise FormatError("a packed frame is damaged: {}".format(error))
            if not unpack.eof:
                raise FormatError("a packed frame is larger than it may be")
            for each in FrameReader(LEFT_OUT).feed(unpacked):
                self._take(*each)


class Outgoing:
    """Gathers frames into writes of at most CHUNK bytes; several threads may add.

    ``write`` takes a buffer whole, which is used again afterwards.  ``compress`` says
    whether to compress what becomes smaller (default: where the line is slow).
    """

    def __init__(self, write: Callable[[memoryview], None], compress: Optional[bool] = None) -> None:
        self._write = write
        self._compress = compress
        self._buffer = bytearray(CHUNK)
        self._filled = 0
        self._lock = threading.RLock()
        self._sent = 0.0
        self._waited = 0.0

    def add(self, kind: int, number: int, payload: Payload = b"", *more: Payload) -> None:
        """Add a frame of at most PIECE_SIZE bytes."""
        length = len(payload) + sum(map(len, more))
        with self._lock:
            if self._filled + HEAD.size + length > CHUNK:
                self.flush()
            HEAD.pack_into(self._buffer, self._filled, kind, number, length)
            place = self._filled + HEAD.size
            for each in (payload,) + more:
                self._buffer[place : place + len(each)] = each
                place += len(each)
            self._filled = place

    def add_json(self, kind: int, number: int, value: Any) -> None:
        """Add a frame with a JSON value."""
        self.add(kind, number, json.dumps(value, separators=(",", ":")).encode("ascii"))

    def flush(self) -> None:
        """Send what has been added."""
        with self._lock:
            if self._filled:
                with memoryview(self._buffer) as view, view[: self._filled] as filled:
                    self._filled = 0
                    packed = self._pack(filled)
                    self._send(filled if packed is None else memoryview(packed))

    def _pack(self, data: memoryview) -> Optional[bytes]:
        if self._compress is False or (self._compress is None and not self.slow):
            return None
        sample = data[:_SAMPLE]
        if len(data) < 64 or len(zlib.compress(sample, 1)) > 0.9 * len(sample):
            return None
        packed = zlib.compress(data, 1)
        if len(packed) >= len(data) - HEAD.size:
            return None
        return HEAD.pack(PACKED, 0, len(packed)) + packed

    @property
    def slow(self) -> bool:
        """Whether the line has been seen to be slower than compression."""
        return self._waited > MEASURED and self._sent < SLOW_LINE * self._waited

    def _send(self, data: memoryview) -> None:
        began = time.monotonic()
        self._write(data)
        self._waited += time.monotonic() - began
        self._sent += len(data)
        if self._waited > _FORGET:  # what was long ago counts less
            self._waited, self._sent = self._waited / 2, self._sent / 2
