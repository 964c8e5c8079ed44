"""What a pickle from a host may consist of, checked before it is unpickled.

Python's unpickler does what the opcodes say: import, build objects, allocate a
memo of any size.  Here only the opcodes pass that write plain data, each with its
whole argument, so that a damaged or hostile pickle ends here at no cost.

A pickle that nests tuples or calls constructors is then walked through, too, as
these are harmless or not by what they are given: see ``pickle_walk.py``.
"""

from __future__ import annotations

import re

from sremote import pickle_opcodes as op
from sremote.interpreter.errors import FormatError
from sremote.pickle_walk import walk_pickle

# What has no length: MEMOIZE, MARK, POP, POP_MARK, lists, dicts, sets; BINGET; LONG_BINGET; FRAME.
_PLAIN = rb"[\x94(01\]ae}su\x8f\x90]|h.|j.{4}|\x95.{8}"
# One scalar or more; a tuple of the last one, two or three of them is as harmless.  Frames may begin in between.
_FLAT = rb"S(?:F\x85|FS(?:F[\x85\x86]|(?:FS)++(?:F[\x85-\x87])?)?)?"
_FLAT = _FLAT.replace(b"S", rb"(?:%s)" % op.SCALAR).replace(b"F", rb"(?:\x95.{8})?+")
_RUN = re.compile(rb"(?:" + _FLAT + rb"|" + _PLAIN + rb")++", re.DOTALL)
_TO_WALK = frozenset((op.TUPLE, op.EMPTY_TUPLE, *op.SHORT_TUPLES, op.FROZENSET, op.STACK_GLOBAL, op.REDUCE))
_SMALL = 10_000
"""Bytes of text that may be compared any number of times."""


def check_pickle(data: bytes | bytearray | memoryview) -> None:
    """Raise FormatError unless ``data`` is a protocol 4 pickle of plain data and nothing else."""
    content = bytes(data)
    if content[:2] != b"\x80\x04":
        raise FormatError("the value is not a pickle of protocol 4")
    position, end, harmless = 2, len(content), True
    while position < end:
        opcode = content[position]
        if opcode in op.COUNTED:
            width = op.COUNTED[opcode]
            start = position + 1 + width
            size = int.from_bytes(content[position + 1 : start], "little")
            position = start + size
            harmless = harmless and opcode != op.LONG4 and size <= _SMALL
        elif opcode in _TO_WALK:
            position += 1
            harmless = False
        elif run := _RUN.match(content, position):
            position = run.end()
        elif opcode == op.STOP:
            break
        else:
            raise FormatError(f"the value holds the pickle opcode {bytes([opcode])!r}, which plain data has no use for")
    if position >= end:
        raise FormatError("the value is truncated")
    if position != end - 1:
        raise FormatError("the value goes on behind its end")
    if not harmless:
        walk_pickle(content)
