"""The opcodes that pickles of plain data consist of, as the standard library's ``pickletools`` names them."""

from __future__ import annotations

SCALAR = rb"[N\x88\x89]|K.|M..|J.{4}|G.{8}"
"""A pattern for None, True, False, BININT1, BININT2, BININT, BINFLOAT."""
COUNTED = {0x43: 1, 0x42: 4, 0x8E: 8, 0x8C: 1, 0x58: 4, 0x8D: 8, 0x8A: 1, 0x8B: 4}
"""SHORT_BINBYTES, BINBYTES, BINBYTES8, *BINUNICODE, LONG1, LONG4: the bytes of the length in front of the content."""
LONG4 = 0x8B
MEMOIZE, BINGET, LONG_BINGET = 0x94, ord("h"), ord("j")
MARK, POP, POP_MARK, STOP, FRAME = ord("("), ord("0"), ord("1"), ord("."), 0x95
EMPTY_TUPLE, TUPLE = ord(")"), ord("t")
SHORT_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
EMPTY_LIST, APPEND, APPENDS = ord("]"), ord("a"), ord("e")
EMPTY_DICT, SETITEM, SETITEMS = ord("}"), ord("s"), ord("u")
EMPTY_SET, ADDITEMS, FROZENSET = 0x8F, 0x90, 0x91
STACK_GLOBAL, REDUCE = 0x93, ord("R")
