"""Reads what a user asks of a scheduler: ``{"walltime": "1:30:00", "memory": "4G"}``."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence

from sremote.connectors.batch import Resources
from sremote.connectors.errors import UsageError

_OTHER_WORDS = {
    "cpus": "cores",
    "dependency": "after",
    "depends": "after",
    "gres": "gpus",
    "mem": "memory",
    "modules": "preamble",
    "n": "tasks",
    "nprocs": "tasks",
    "ntasks": "tasks",
    "partition": "queue",
    "processes": "tasks",
    "project": "account",
    "ranks": "tasks",
    "time": "walltime",
    "timelimit": "walltime",
}
"""What schedulers call these, and what they are called here."""

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def read_resources(given: Resources | Mapping[str, object] | None) -> Resources:
    """Return the resources that a mapping of ``Resources``' names describes; None asks for nothing.

    ``walltime`` is seconds, ``H:MM:SS``, ``D-HH:MM:SS`` or such as ``90m`` and
    ``1d12h``; ``memory`` is bytes or such as ``4G``, in powers of 1024.  Raises
    UsageError, which names the key, where a key is unknown or a value cannot be.
    """
    if given is None:
        return Resources()
    if isinstance(given, Resources):
        return given
    if not isinstance(given, Mapping):
        raise UsageError(f"{given!r} is not resources", 'Write them as {"nodes": 2, "walltime": "1:30:00"}.')
    values = {}
    for key, value in given.items():
        if key not in _READERS:
            raise _unknown(str(key))
        if value is not None:
            values[key] = _READERS[key](key, value)
    resources = Resources(**values)  # type: ignore[arg-type]
    if resources.at_once is not None and resources.array is None:
        raise UsageError("'at_once' limits an array, and there is no 'array'", "Leave it out, or give 'array' too.")
    return resources


def seconds(key: str, value: object) -> float:
    """Return a duration in seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    else:
        found = _seconds_of_text(key, str(value).strip())
    if not 0 < found < math.inf:
        raise UsageError(f"{key!r} is {value!r}, which leaves no time to run", "Write it as '1:30:00' or '90m'.")
    return found


def _seconds_of_text(key: str, text: str) -> float:
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text)
    if clock is not None:
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + rest
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([dhms])", text)
    if parts and re.fullmatch(r"(?:\d+(?:\.\d+)?\s*[dhms]\s*)+", text):
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if re.fullmatch(r"\d+", text):
        return float(text)
    hint = "Hours, minutes and seconds: '1:30:00'. Or with units: '90m', '1d12h'."
    raise UsageError(f"{key!r} is {text!r}, which is not a duration", hint)


def _bytes(key: str, value: object) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
    size = round(float(found[1]) * _UNITS[found[2].upper()]) if found and not isinstance(value, bool) else 0
    if size <= 0:
        raise UsageError(f"{key!r} is {value!r}, which is not a size", "Write it as '4G' or '512M'; a number is bytes.")
    return size


def _count(key: str, value: object) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[1-9]\d*", text):
        raise UsageError(f"{key!r} is {value!r}, which is not a whole number from 1", f"Such as {key}=2.")
    return int(text)


def _word(key: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^\s'\"`$\\;|&<>()]+", value):
        raise UsageError(f"{key!r} is {value!r}, which is not one word", "Give its name as the scheduler has it.")
    return value


def _text(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise UsageError(f"{key!r} is {value!r}, which is not text", "Give lines of shell.")


def _line(key: str, value: object) -> str:
    text = _text(key, value)
    if "\n" in text or not text.strip():
        raise UsageError(f"{key!r} is {value!r}, which is not one line", "Such as 'mpiexec -n 4', or 'none'.")
    return text


def _list(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.splitlines())
    if isinstance(value, Sequence) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise UsageError(f"{key!r} is {value!r}, which is not a list of texts")


def _ids(key: str, value: object) -> tuple[str, ...]:
    """Return the ids of jobs, which may be given as such."""
    given = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    found = tuple(each if isinstance(each, str) else getattr(each, "id", None) for each in given)
    if not all(isinstance(each, str) and re.fullmatch(r"[\w.;\[\]-]+", each) for each in found):
        raise UsageError(f"{key!r} is {value!r}, which is not a list of jobs", "Give jobs, or their ids.")
    return tuple(str(each) for each in found)


def _yes_or_no(key: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "yes", "1", "false", "no", "0"):
        return str(value).lower() in ("true", "yes", "1")
    raise UsageError(f"{key!r} is {value!r}, which is neither true nor false")


_READERS: dict[str, Callable[[str, object], object]] = {
    "nodes": _count,
    "tasks": _count,
    "cores": _count,
    "memory": _bytes,
    "gpus": _count,
    "walltime": seconds,
    "queue": _word,
    "account": _word,
    "array": _count,
    "at_once": _count,
    "after": _ids,
    "requeue": _yes_or_no,
    "extra": _list,
    "preamble": _text,
    "launcher": _line,
}

RESOURCE_NAMES = tuple(field.name for field in dataclasses.fields(Resources))
"""The keys that resources may have."""


def _unknown(key: str) -> UsageError:
    near = _OTHER_WORDS.get(key.lower().lstrip("-")) or next(
        iter(difflib.get_close_matches(key, RESOURCE_NAMES, 1)), None
    )
    remedy = f"Did you mean {near!r}?" if near else "What only one scheduler has goes into 'extra', as its own line."
    return UsageError(f"there is no resource {key!r}; those known: {', '.join(RESOURCE_NAMES)}", remedy)
