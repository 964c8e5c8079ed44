"""Values as bytes: ``dumps`` and ``loads``.  They are in sremote's own form, not execnet's."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from sremote.channel import ClientChannels
from sremote.errors import FormatError, ValueRefused
from sremote.execnet.errors import DumpError, LoadError

_HEAD = struct.Struct(">8sQ")
_MAGIC = b"SREMOTEV"


def _nowhere(*_: object) -> None:
    raise DumpError("a channel cannot be written, as it belongs to its gateway")


_values = ClientChannels(_nowhere, "", "", None)


def dumps(obj: Any) -> bytes:
    """Return a value as bytes.  Raises DumpError where it is not plain data."""
    try:
        data = b"".join(_values.encode(obj))
    except ValueRefused as error:
        raise DumpError(error.message) from None
    return _HEAD.pack(_MAGIC, len(data)) + data


def loads(data: bytes) -> Any:
    """Return the value that ``dumps`` wrote; nothing of it is executed.  Raises LoadError."""
    if len(data) < _HEAD.size or _HEAD.unpack_from(data) != (_MAGIC, len(data) - _HEAD.size):
        raise LoadError("this is not a value that dumps() of sremote.execnet has written")
    try:
        return _values.decode(data[_HEAD.size :])
    except (FormatError, ValueRefused) as error:
        raise LoadError(error.message) from None


def dump(file: BinaryIO, obj: Any) -> None:
    """Write a value to a binary file."""
    file.write(dumps(obj))


def load(file: BinaryIO) -> Any:
    """Read a value from a binary file, which may go on behind it."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(_MAGIC):
        raise LoadError("this is not a value that dump() of sremote.execnet has written")
    return loads(head + file.read(_HEAD.unpack(head)[1]))
