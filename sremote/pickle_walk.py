"""Goes through a pickle as the unpickler would, without making any of its objects.

Even plain data can do harm: a tuple that holds itself many times over hashes for
years, one that is deep overflows the C stack as it is hashed, and a list or bytes
that are referred to again and again fill the memory with copies.  So the walk
knows, for each object, how deep and how large it would be.
"""

from __future__ import annotations

import re
from typing import Any

from sremote import pickle_opcodes as op
from sremote.interpreter.errors import FormatError

DEPTH_LIMIT = 1000
"""Tuples within each other; Python's own limit of recursion, which the pickler has kept to."""
AMPLIFICATION = 100
"""Bytes to be hashed and copied that each byte of a pickle may cause, beyond ..."""
FREE = 100 << 20
"""... these, which any pickle may."""

_ONE = re.compile(op.SCALAR, re.DOTALL)
_RUN = re.compile(rb"(?:" + op.SCALAR + rb")++", re.DOTALL)
_SCALARS = {ord("N"): 1, 0x88: 1, 0x89: 1, ord("K"): 2, ord("M"): 3, ord("J"): 5, ord("G"): 9}
_WHOLE_RUN = frozenset((op.APPENDS, op.TUPLE, op.ADDITEMS))
_CONTAINERS = frozenset((op.EMPTY_LIST, op.EMPTY_DICT, op.EMPTY_SET))
_FILLED = {
    op.APPEND: op.EMPTY_LIST,
    op.APPENDS: op.EMPTY_LIST,
    op.SETITEM: op.EMPTY_DICT,
    op.SETITEMS: op.EMPTY_DICT,
    op.ADDITEMS: op.EMPTY_SET,
}
_TAKEN = {op.APPEND: 1, op.SETITEM: 2, op.STACK_GLOBAL: 2, op.REDUCE: 2, **op.SHORT_TUPLES}

# What stands for an object: the depth of its tuples, its size in bytes, and what made it, where that matters.
# It is a list for a list, dict or set, whose size grows.
_LEAF = (0, 1, 0)


def walk_pickle(content: bytes) -> None:
    """Raise FormatError where unpickling ``content`` would do harm.  ``check_pickle`` must have passed it."""
    try:
        _Walk(content).run()
    except IndexError:
        raise FormatError("the value's pickle is damaged") from None


class _Walk:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._left = FREE + AMPLIFICATION * len(content)

    def run(self) -> None:
        content, stack, memo = self._content, self._stack, []
        position = 2
        while True:
            opcode = content[position]
            position += 1
            if opcode == op.MEMOIZE:
                memo.append(stack[-1])
            elif opcode in _SCALARS:
                end = position + _SCALARS[opcode] - 1
                if content[end] in _SCALARS:
                    position = self._scalars(position - 1)
                else:
                    position = end
                    stack.append(_LEAF)
            elif opcode == op.BINGET:
                stack.append(memo[content[position]])
                position += 1
            elif opcode in op.COUNTED:
                width = op.COUNTED[opcode]
                size = int.from_bytes(content[position : position + width], "little")
                position += width + size
                stack.append((0, size + 1, 0))
            elif opcode in op.SHORT_TUPLES:
                self._nest(self._take(opcode))
            elif opcode == op.MARK:
                self._marks.append(len(stack))
            elif opcode == op.LONG_BINGET:
                stack.append(memo[int.from_bytes(content[position : position + 4], "little")])
                position += 4
            elif opcode == op.FRAME:
                position += 8
            elif opcode == op.STOP:
                return
            else:
                self._make(opcode)

    def _scalars(self, start: int) -> int:
        """Push the many scalars that stand at ``start``, and return where they end."""
        run = _RUN.match(self._content, start)
        if run is None:
            raise IndexError
        end = run.end()
        if self._content[end] in _WHOLE_RUN:  # which takes them off at once, so that one may stand for all
            self._stack.append((0, end - start, 0))
        else:
            self._stack.extend([_LEAF] * len(_ONE.findall(self._content, start, end)))
        return end

    def _make(self, opcode: int) -> None:
        stack = self._stack
        if opcode in _CONTAINERS:
            stack.append([0, 1, opcode])
            return
        if opcode == op.EMPTY_TUPLE:
            stack.append(_LEAF)
            return
        if opcode == op.POP and not (self._marks and self._marks[-1] == len(stack)):
            stack.pop()
            return
        items = self._take(opcode)
        if opcode in _FILLED:
            self._fill(_FILLED[opcode], items)
        elif opcode == op.FROZENSET:
            self._spend(items)
            stack.append((0, 1 + _size(items), 0))
        elif opcode == op.STACK_GLOBAL:
            stack.append((0, 1, opcode))
        elif opcode == op.REDUCE:
            if items[0][2] != op.STACK_GLOBAL:
                raise FormatError("the value calls something that is not a constructor")
            self._spend(items)
            self._nest(items)
        elif opcode == op.TUPLE:
            self._nest(items)

    def _take(self, opcode: int) -> list[Any]:
        """Return what ``opcode`` takes off the stack: a number of objects, or those down to the last mark."""
        stack = self._stack
        if opcode in _TAKEN:
            start = len(stack) - _TAKEN[opcode]
            if start < 0:
                raise IndexError
        else:
            start = self._marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def _fill(self, kind: int, items: list[Any]) -> None:
        container = self._stack[-1]
        if container[2] != kind:
            raise FormatError("the value puts items into something that is not a list, dict or set")
        if kind == op.EMPTY_DICT:
            self._spend(items[::2])
        elif kind == op.EMPTY_SET:
            self._spend(items)
        container[1] += _size(items)

    def _nest(self, items: list[Any]) -> None:
        depth = size = 1
        for item_depth, item_size, _ in items:
            size += item_size
            if item_depth >= depth:
                depth = item_depth + 1
        if depth > DEPTH_LIMIT:
            raise FormatError(f"the value has more than {DEPTH_LIMIT} tuples within each other")
        self._stack.append((depth, size, 0))

    def _spend(self, items: list[Any]) -> None:
        """Count what is hashed or copied."""
        self._left -= _size(items)
        if self._left < 0:
            raise FormatError("the value would take far more time or memory than its size is worth")


def _size(items: list[Any]) -> int:
    return sum([item[1] for item in items])
