"""Task numbers as runs: what a log entry holds of the tasks that it is about."""

import struct
from typing import Iterable, Iterator, List, Tuple

from .wire import Buffer

Ranges = List[Tuple[int, int]]
"""Runs of consecutive numbers: the first of each, and how many."""

_RANGE = struct.Struct(">II")


def to_ranges(numbers: Iterable[int]) -> Ranges:
    """Return numbers as runs, in the order in which they come."""
    ranges: Ranges = []
    first = count = 0
    for number in numbers:
        if count and number == first + count:
            count += 1
            continue
        if count:
            ranges.append((first, count))
        first, count = number, 1
    if count:
        ranges.append((first, count))
    return ranges


def numbers_of(ranges: Ranges) -> Iterator[int]:
    """Yield the numbers that runs stand for."""
    for first, count in ranges:
        for number in range(first, first + count):
            yield number


def pack_ranges(ranges: Ranges) -> bytes:
    """Write runs as pairs of 32-bit integers."""
    return b"".join(_RANGE.pack(*one) for one in ranges)


def unpack_ranges(data: Buffer) -> Ranges:
    """Read what ``pack_ranges`` wrote."""
    return [(first, count) for first, count in _RANGE.iter_unpack(bytes(data))]
