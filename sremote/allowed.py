"""The user's own types that may travel as values."""

from __future__ import annotations

import dataclasses
import enum
from typing import TypeVar

from sremote.errors import UsageError
from sremote.interpreter.values import type_name

_T = TypeVar("_T", bound=type)

allowed_types: dict[str, type] = {}
"""The allowed types by name, ``module:Qualified.name``."""


def allow(kind: _T) -> _T:
    """Let a dataclass, enum or named tuple of yours travel, both ways; also a class decorator.

    Its instances are rebuilt from their fields; none of its methods is called for
    that.  Raises UsageError for any other kind of type.
    """
    is_tuple = isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")
    is_enum = isinstance(kind, type) and issubclass(kind, enum.Enum)
    if not (isinstance(kind, type) and (is_tuple or is_enum or dataclasses.is_dataclass(kind))):
        raise UsageError(
            f"{kind!r} is not a dataclass, enum or named tuple", "For other types: trust=True for the host."
        )
    if "<locals>" in kind.__qualname__:
        raise UsageError(f"{kind.__qualname__} is defined inside a function", "Define it at the top of its module.")
    if any("__call__" in vars(base) for base in kind.__mro__):
        raise UsageError(f"{kind.__qualname__} can be called, so it is not just data", "Remove its __call__.")
    allowed_types[type_name(kind)] = kind
    return kind
