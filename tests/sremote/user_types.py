"""A user's own types, allowed to travel; no host has this file."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import sremote


@sremote.allow
class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@sremote.allow
class Pair(NamedTuple):
    left: int
    right: int


@sremote.allow
@dataclass
class Point:
    x: float
    y: float | None = None
    tags: list[str] = field(default_factory=list)

    @property
    def length(self) -> float:
        return math.hypot(self.x, self.y or 0)

    @classmethod
    def origin(cls) -> Point:
        return cls(0, 0)


@dataclass
class NotAllowed:
    x: int


def shift(point: Point, by: float) -> Point:
    return Point(point.x + by, point.y, [*point.tags, "shifted"])


def length(point):
    return point.length


def other(colour):
    return Colour.RED if colour is Colour.BLUE else Colour.BLUE


def swap(pair):
    return Pair(pair.right, pair.left)


def make_not_allowed():
    return NotAllowed(1)
