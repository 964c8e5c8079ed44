"""The file format of requests and responses.

A message is, in this order:

    8 bytes   ``SREMOTE1``: what this is, and the format's version
    4 bytes   length of the header, unsigned, big endian, at most HEADER_LIMIT
    header    one JSON object in UTF-8; ``sections`` lists ``[name, length]`` pairs
    sections  the bytes of each section, one after the other, nothing behind the last

Each section begins at a multiple of 16 bytes, behind zeros where it must, so that
the arrays in them can be used in place.

Lengths are checked against the bytes that are really there before anything is
allocated for them, so that a damaged or hostile file costs nothing.
"""

import json
import struct
from typing import Any, Dict, Iterable, List, Sequence, Tuple, Union

from .errors import FormatError

MAGIC = b"SREMOTE1"
HEADER_LIMIT = 4 << 20
ALIGNMENT = 16
_PREFIX = struct.Struct(">8sI")

Buffer = Union[bytes, bytearray, memoryview]
Header = Dict[str, Any]
Section = Tuple[str, Sequence[Buffer]]


class Message:
    """A header and its named sections; several sections may share a name, as arrays do."""

    def __init__(self, header: Header, sections: Iterable[Section] = ()) -> None:
        self.header = header
        self.sections: List[Section] = list(sections)

    def add(self, name: str, *buffers: Buffer) -> None:
        """Append a section made of ``buffers``, which are neither copied nor joined."""
        self.sections.append((name, buffers))

    def all(self, name: str) -> List[memoryview]:
        """Return every section called ``name``, in order."""
        return [_joined(buffers) for title, buffers in self.sections if title == name]

    def get(self, name: str) -> memoryview:
        """Return the first section called ``name``; an empty view where there is none."""
        for title, buffers in self.sections:
            if title == name:
                return _joined(buffers)
        return memoryview(b"")

    def has(self, name: str) -> bool:
        """Say whether there is a section called ``name``."""
        return any(title == name for title, _ in self.sections)

    def chunks(self) -> List[Buffer]:
        """Return the message as buffers to be written one after the other."""
        sizes = [(name, sum(_size(part) for part in parts)) for name, parts in self.sections]
        header = json.dumps(dict(self.header, sections=sizes), separators=(",", ":")).encode()
        if len(header) > HEADER_LIMIT:
            raise FormatError("the header has {} bytes; {} are allowed".format(len(header), HEADER_LIMIT))
        chunks: List[Buffer] = [_PREFIX.pack(MAGIC, len(header)) + header]
        position = _PREFIX.size + len(header)
        for (_, parts), (_, size) in zip(self.sections, sizes):
            chunks.append(bytes(-position % ALIGNMENT))
            chunks.extend(parts)
            position += -position % ALIGNMENT + size
        return chunks

    def to_bytes(self) -> bytes:
        """Return the whole message as one object; for small messages and tests."""
        return b"".join(self.chunks())


def parse(data: Buffer) -> Message:
    """Read a message from ``data``; its sections are views of ``data``, not copies.

    Raises FormatError with what is wrong where ``data`` is not exactly one message.
    """
    view = memoryview(data).cast("B")
    if len(view) < _PREFIX.size:
        raise FormatError("not a message: it has {} bytes".format(len(view)))
    magic, length = _PREFIX.unpack_from(view)
    if magic[:7] == MAGIC[:7] and magic != MAGIC:
        raise FormatError("format version {!r} is not {!r}".format(magic[7:].decode("latin-1"), "1"))
    if magic != MAGIC:
        raise FormatError("not a message: it begins with {!r}".format(bytes(magic)))
    start = _PREFIX.size + length
    if length > HEADER_LIMIT or start > len(view):
        raise FormatError("the header claims {} bytes; the message has {}".format(length, len(view)))
    header = _header(bytes(view[_PREFIX.size : start]))
    sections: List[Section] = []
    for name, size in header.pop("sections"):
        start += -start % ALIGNMENT
        if size > len(view) - start:
            raise FormatError("section {!r} claims {} bytes; {} are left".format(name, size, max(0, len(view) - start)))
        sections.append((name, [view[start : start + size]]))
        start += size
    if start != len(view):
        raise FormatError("{} bytes stand behind the last section".format(len(view) - start))
    return Message(header, sections)


def _header(text: bytes) -> Header:
    try:
        header = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError("the header is not JSON: {}".format(error)) from None
    sections = header.get("sections") if isinstance(header, dict) else None
    if not isinstance(sections, list) or not all(
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], int)
        and entry[1] >= 0
        for entry in sections
    ):
        raise FormatError("the header does not list its sections")
    assert isinstance(header, dict)
    return header


def _size(part: Buffer) -> int:
    return part.nbytes if isinstance(part, memoryview) else len(part)


def _joined(buffers: Sequence[Buffer]) -> memoryview:
    if len(buffers) == 1:
        return memoryview(buffers[0]).cast("B")
    return memoryview(b"".join(buffers))
