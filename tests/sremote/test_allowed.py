"""sremote.allow: a user's own dataclasses, enums and named tuples may travel."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from sremote.allowed import allow, allowed_types
from sremote.errors import UsageError


@dataclass
class Point:
    x: int


class Pair(NamedTuple):
    a: int


class Color(enum.Enum):
    RED = 1


class Outer:
    @dataclass
    class Inner:
        x: int


class Plain:
    pass


@dataclass
class Callable:
    x: int

    def __call__(self) -> int:
        return self.x


class CallableBelow(Callable):
    pass


@pytest.fixture(autouse=True)
def nothing_allowed() -> Iterator[None]:
    before = dict(allowed_types)
    allowed_types.clear()
    yield
    allowed_types.clear()
    allowed_types.update(before)


@pytest.mark.parametrize("kind", [Point, Pair, Color, Outer.Inner], ids=lambda kind: kind.__name__)
def test_a_dataclass_enum_or_named_tuple_can_be_allowed(kind: type) -> None:
    assert allow(kind) is kind
    assert allowed_types == {f"{__name__}:{kind.__qualname__}": kind}


@pytest.mark.parametrize("kind", [Plain, int, tuple, Point(1), "Point", len], ids=str)
def test_anything_else_is_refused(kind: Any) -> None:
    with pytest.raises(UsageError, match="is not a dataclass, enum or named tuple") as caught:
        allow(kind)
    assert "trust=True" in str(caught.value)
    assert allowed_types == {}


def test_a_class_inside_of_a_function_is_refused() -> None:
    @dataclass
    class Local:
        x: int

    with pytest.raises(UsageError, match="Local is defined inside a function"):
        allow(Local)


@pytest.mark.parametrize("kind", [Callable, CallableBelow])
def test_a_class_whose_instances_are_code_is_refused(kind: type) -> None:
    with pytest.raises(UsageError, match="can be called, so it is not just data"):
        allow(kind)
