"""What a pickle from a host may consist of, checked before it is unpickled.

Python's unpickler does what the opcodes say: import, build objects, allocate a
memo of any size.  Here only the opcodes pass that write plain data, each with its
whole argument, so that a damaged or hostile pickle ends here at no cost.  The
opcodes are those of the standard library's ``pickletools``.
"""

from __future__ import annotations

import re

from sremote.interpreter.errors import FormatError

# Without an argument: constants, tuples, lists, dicts, sets, MARK, POP, MEMOIZE, STACK_GLOBAL, REDUCE.
_BARE = rb"[N\x88\x89)\x85\x86\x87t\]ae}su\x8f\x90\x91(01\x94\x93R]"
# With an argument of fixed length: BININT1, BININT2, BININT, BINFLOAT, BINGET, LONG_BINGET.
_FIXED = rb"[Kh].|M..|[Jj].{4}|G.{8}"
_RUN = re.compile(rb"(?:" + _BARE + rb"|" + _FIXED + rb")++", re.DOTALL)
# With a length in front: SHORT_BINBYTES, BINBYTES, BINBYTES8, *BINUNICODE, LONG1, LONG4.
_COUNTED = {b"C": 1, b"B": 4, b"\x8e": 8, b"\x8c": 1, b"X": 4, b"\x8d": 8, b"\x8a": 1, b"\x8b": 4}
_FRAME = b"\x95"
_STOP = b"."


def check_pickle(data: bytes | memoryview) -> None:
    """Raise FormatError unless ``data`` is a protocol 4 pickle of plain data and nothing else."""
    view = memoryview(data)
    if bytes(view[:2]) != b"\x80\x04":
        raise FormatError("the value is not a pickle of protocol 4")
    position, end = 2, len(view)
    while position < end:
        run = _RUN.match(view, position)
        if run is not None:
            position = run.end()
            continue
        opcode = bytes(view[position : position + 1])
        position += 1
        if opcode == _STOP:
            if position != end:
                raise FormatError("the value goes on behind its end")
            return
        if opcode == _FRAME:
            position += 8
        elif opcode in _COUNTED:
            width = _COUNTED[opcode]
            position += width + int.from_bytes(view[position : position + width], "little")
        else:
            raise FormatError(f"the value holds the pickle opcode {opcode!r}, which plain data has no use for")
    raise FormatError("the value is truncated")
