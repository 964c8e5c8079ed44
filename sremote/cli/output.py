"""What commands print: values for people, and JSON for programs.

JSON has fewer types than Python.  These stand for the others:

    tuple, set, frozenset, array    list
    named tuple, dataclass          object
    date, time, datetime            text in ISO 8601
    timedelta                       number of seconds
    bytes, bytearray                {"base64": "…"}
    float nan, inf, -inf            "NaN", "Infinity", "-Infinity", as Protocol Buffers' JSON has them
    enum                            its value
    Decimal, path, UUID             text
    a mapping's keys                text
    anything else                   its repr, as text
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import click


def print_json(data: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; the values may be any, as above."""
    try:
        text = json.dumps(to_json(data))
    except RecursionError:
        text = json.dumps({key: repr(value) for key, value in data.items()})
    click.echo(text)
    sys.stdout.flush()


def print_value(value: object) -> None:
    """Print a value for a person: text as it is, None not at all, anything else as Python writes it."""
    if value is not None:
        click.echo(value if isinstance(value, str) else repr(value))


def print_table(rows: Sequence[tuple[str, object]]) -> None:
    """Print names and what stands behind them, in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def as_text(data: bytes) -> str | dict[str, str]:
    """Return bytes as JSON: text where they are UTF-8, else as base64."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def to_json(value: Any) -> Any:
    """Return ``value`` made of what JSON has; the module's docstring says how."""
    match value:
        case None | bool():
            return value
        case enum.Enum():
            return to_json(value.value)
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            return _number(float(value))
        case Mapping():
            return {_key(key): to_json(item) for key, item in value.items()}
        case tuple() if hasattr(value, "_asdict"):
            return to_json(value._asdict())
        case list() | tuple() | set() | frozenset():
            return [to_json(item) for item in value]
        case bytes() | bytearray() | memoryview():
            return {"base64": base64.b64encode(value).decode("ascii")}
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal() | pathlib.PurePath() | uuid.UUID():
            return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key.name: to_json(getattr(value, key.name)) for key in dataclasses.fields(value)}
    if hasattr(value, "__array__") and hasattr(value, "tolist"):
        return to_json(value.tolist())
    return repr(value)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _key(key: object) -> str:
    plain = to_json(key)
    return plain if isinstance(plain, str) else json.dumps(plain)
