"""What the two sides of a copy of files say to each other.

One side sends a tree (a folder with all below it, or one file), the other receives
it; either may be the client.  Frames are laid out as in ``frames``; the number in
their heads is that of an entry, as the sender counts them from 0.  Numbers are big
endian, names the bytes that the system has.

A process is started for each copy, so what these modules import is what a small
copy costs: json, typing, signal and threading would double that.
"""

import zlib
from _thread import RLock
from struct import Struct, error
from time import monotonic

from .errors import FormatError
from .frames import CHUNK, HEAD, FrameReader

TYPE_CHECKING = False  # as typing has it
if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator, List, Optional, Tuple, Union

    Payload = Union[bytes, bytearray, memoryview]

LIST = 1
"""From the sender: entries, one after the other; the first of them has the frame's number.  The tree's root comes
first and has an empty path, and folders come before what is in them.  An entry is 1 byte with its kind (f, d, l),
2 with its permission bits, 8 with its time of modification in nanoseconds, 8 with a file's size, 2 each with the
lengths of its path and of a link's target, and these two."""
LISTED = 2
"""From the sender: there are as many entries as the number says.  The payload is not empty where all could be read."""
WANT = 3
"""From the receiver: 4 bytes with the number of each entry that is to be sent."""
HAVE = 4
"""From the receiver: 37 bytes for each entry that is a file of the same size there: its number, 1 byte that is 1
where permissions and time are right too, and the SHA-256 of its content.  Entries that need nothing are not named."""
ANSWERED = 5
"""From the receiver: every entry has been answered.  The number is 1 where nothing is left to do if all that it has
is the same."""
PIECE = 6
"""From the sender: the next bytes of a file."""
LAST = 7
"""From the sender: the CRC-32 of a file's whole content, and its last bytes."""
SAME = 8
"""From the sender: the digest is right; permissions and time are to be set."""
SKIP = 9
"""From the sender: this file could not be read whole, and will not come."""
FINISH = 10
"""From the sender: all that was wanted has been sent."""
DONE = 11
"""From the receiver, when all is in place, or as soon as it is of no use to go on."""
FAILED = 12
"""From either side: one thing that it could not read or write: 4 bytes with the errno, or 0; the path, a zero byte,
and a sentence."""
LEFT_OUT = 13
"""From the sender: the path of what is neither file, folder nor link, and is not copied."""
PACKED = 14
"""From the sender: frames, compressed by zlib; none is PACKED."""

ENTRY = Struct(">cHqQHH")
NUMBER = Struct(">I")
HAD = Struct(">I?32s")

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


class Entry:
    """One file, folder or link of a tree; ``path`` is relative to the root, which is b""."""

    __slots__ = ("kind", "mode", "mtime", "path", "size", "target")

    def __init__(self, path: bytes, kind: bytes, mode: int, mtime: int, size: int, target: bytes) -> None:
        self.path = path
        self.kind = kind
        self.mode = mode
        self.mtime = mtime
        self.size = size
        self.target = target


class Failure:
    """One thing that could not be read or written; ``errno`` is 0 where the system said nothing."""

    def __init__(self, path: bytes, errno: int, text: str) -> None:
        self.path = path
        self.errno = errno
        self.text = text

    @classmethod
    def of_error(cls, path: bytes, reason: OSError) -> "Failure":
        """Return the failure that ``reason`` tells of."""
        return cls(path, reason.errno or 0, reason.strerror or str(reason))


def pack_entry(entry: Entry) -> bytes:
    """Return an entry as LIST has it."""
    path, target = entry.path, entry.target
    size, lengths = entry.size, (len(path), len(target))
    return ENTRY.pack(entry.kind, entry.mode, entry.mtime, size, *lengths) + path + target


def unpack_entries(payload: memoryview) -> "Iterator[Entry]":
    """Yield the entries of a LIST."""
    data = bytes(payload)
    place, end, size = 0, len(data), ENTRY.size
    while place < end:
        kind, mode, mtime, length, path_length, target_length = ENTRY.unpack_from(data, place)
        place += size
        middle = place + path_length
        path = data[place:middle]
        place = middle + target_length
        if place > end:
            raise FormatError("an entry is cut")
        yield Entry(path, kind, mode, mtime, length, data[middle:place])


def pack_failure(failure: Failure) -> bytes:
    """Return a failure as FAILED has it."""
    return NUMBER.pack(failure.errno) + failure.path + b"\0" + failure.text.encode("utf-8", "replace")


def unpack_failure(payload: memoryview) -> Failure:
    """Return the failure of a FAILED."""
    path, _, text = bytes(payload[NUMBER.size :]).partition(b"\0")
    return Failure(path, NUMBER.unpack_from(payload)[0], text.decode("utf-8", "replace"))


def pack_numbers(numbers: "Iterable[int]") -> bytes:
    """Return numbers as WANT has them."""
    return b"".join(map(NUMBER.pack, numbers))


def unpack_numbers(payload: memoryview) -> "List[int]":
    """Return the numbers of a WANT."""
    return [number for (number,) in NUMBER.iter_unpack(payload)]


def pack_had(had: "Iterable[Tuple[int, bool, bytes]]") -> bytes:
    """Return numbers, whether they are settled, and digests, as HAVE has them."""
    return b"".join([HAD.pack(*each) for each in had])


def ignore(*_: object) -> None:
    """Take no notice."""


class Incoming:
    """Cuts what arrives into frames, packed ones too, and hands each to ``take``: kind, number, payload."""

    def __init__(self, take: "Callable[[int, int, memoryview], None]") -> None:
        self._take = take
        self._frames = FrameReader(PACKED)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream.  Raises FormatError where they are not what they should be."""
        try:
            for kind, number, payload in self._frames.feed(data):
                if kind != PACKED:
                    self._take(kind, number, payload)
                    continue
                for each in FrameReader(LEFT_OUT).feed(_unpack(payload)):
                    self._take(*each)
        except (error, LookupError, OverflowError) as reason:
            raise FormatError("a frame is damaged: {!r}".format(reason))


def _unpack(payload: memoryview) -> bytes:
    unpack = zlib.decompressobj()
    try:
        data = unpack.decompress(payload, PACKED_LIMIT)
    except zlib.error as reason:
        raise FormatError("a packed frame is damaged: {}".format(reason))
    if not unpack.eof:
        raise FormatError("a packed frame is larger than it may be")
    return data


class Outgoing:
    """Gathers frames into writes of at most CHUNK bytes; several threads may add.

    ``write`` takes a buffer whole, which is used again afterwards.  ``compress`` says
    whether to compress what becomes smaller (default: where the line is slow).
    """

    def __init__(self, write: "Callable[[memoryview], None]", compress: "Optional[bool]" = None) -> None:
        self._write = write
        self._compress = compress
        self._buffer = bytearray(CHUNK)
        self._filled = 0
        self._lock = RLock()
        self._sent = 0.0
        self._waited = 0.0

    def add(self, kind: int, number: int, payload: "Payload" = b"") -> None:
        """Add a frame of at most PIECE_SIZE bytes."""
        length = len(payload)
        with self._lock:
            if self._filled + HEAD.size + length > CHUNK:
                self.flush()
            HEAD.pack_into(self._buffer, self._filled, kind, number, length)
            place = self._filled + HEAD.size
            self._filled = place + length
            self._buffer[place : self._filled] = payload

    def flush(self) -> None:
        """Send what has been added."""
        with self._lock:
            if self._filled:
                with memoryview(self._buffer) as view, view[: self._filled] as filled:
                    self._filled = 0
                    packed = self._pack(filled)
                    self._send(filled if packed is None else memoryview(packed))

    def _pack(self, data: memoryview) -> "Optional[bytes]":
        if self._compress is False or (self._compress is None and not self.slow):
            return None
        sample = data[:_SAMPLE]
        if len(zlib.compress(sample, 1)) > 0.9 * len(sample):
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
        began = monotonic()
        self._write(data)
        self._waited += monotonic() - began
        self._sent += len(data)
        if self._waited > _FORGET:  # what was long ago counts less
            self._waited, self._sent = self._waited / 2, self._sent / 2
