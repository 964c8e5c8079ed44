"""How values are printed: for people, and with ``--json``."""

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

from sremote.cli.output import print_json, print_value, to_json

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Box:
    corner: Point
    size: tuple[int, int]


class Colour(enum.Enum):
    RED = (1, 0, 0)


class Level(enum.IntEnum):
    HIGH = 3


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


IDENTITY = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (None, None),
        (True, True),
        (10**30, 10**30),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        ("ü\ud800", "ü\ud800"),
        ((1, (2,)), [1, [2]]),
        ({3}, [3]),
        (frozenset([3]), [3]),
        (b"\xff", {"base64": "/w=="}),
        (bytearray(b"a"), {"base64": "YQ=="}),
        (OrderedDict(a=(1,)), {"a": [1]}),
        ({1: "a", None: "b", (1, 2): "c", "d": "e"}, {"1": "a", "null": "b", "[1, 2]": "c", "d": "e"}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Box(Point(0, 0), (3, 4)), {"corner": {"x": 0, "y": 0}, "size": [3, 4]}),
        (Colour.RED, [1, 0, 0]),
        (Level.HIGH, 3),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), "2026-01-02T03:04:00+00:00"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(minutes=1), 60.0),
        (decimal.Decimal("1.10"), "1.10"),
        (pathlib.PurePosixPath("/a"), "/a"),
        (IDENTITY, "12345678-1234-5678-1234-567812345678"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.0, np.nan]), [1.0, "NaN"]),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array(["2026-01-02"], dtype="datetime64[D]"), ["2026-01-02"]),
        (1 + 2j, "(1+2j)"),
        (range(3), "range(0, 3)"),
        (Odd(), "<odd>"),
        (Odd, repr(Odd)),
    ],
    ids=repr,
)
def test_a_value_has_one_form_in_json(value: Any, json: Any) -> None:
    assert to_json(value) == json
    assert type(to_json(value)) is type(json)


@pytest.mark.parametrize(
    ("value", "printed"),
    [("a\nb", "a\nb\n"), (None, ""), (1.5, "1.5\n"), ({"a": ["x"]}, "{'a': ['x']}\n"), (b"\xff", "b'\\xff'\n")],
)
def test_a_value_is_printed_as_text_or_as_python_writes_it(
    value: Any, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_value(value)
    assert capsys.readouterr().out == printed


def test_a_value_that_holds_itself_is_printed_as_python_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    print_json({"value": loop})
    assert json.loads(capsys.readouterr().out) == {"value": "[1, [...]]"}
