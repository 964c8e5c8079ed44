"""A call's arguments: how the user gives them, and how they go into a request."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from sremote.errors import UsageError, ValueRefused
from sremote.interpreter.values import encode
from sremote.interpreter.wire import Message


def split_arguments(args: Any, kwargs: Mapping[str, Any] | None) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments; ``args`` is a list or tuple, or a mapping of keywords alone.

    Raises UsageError where it is neither.
    """
    if isinstance(args, Mapping):
        if kwargs is not None:
            raise UsageError("args is a mapping of keywords, so kwargs must not be given too")
        return [], dict(args)
    if not isinstance(args, list | tuple):
        raise UsageError(f"args is {args!r}, not a list, tuple or mapping", "For one argument: [value].")
    return list(args), dict(kwargs or {})


def add_arguments(request: Message, args: list[Any], kwargs: dict[str, Any], allowed: Container[str]) -> None:
    """Add arguments to a request as plain data.  Raises ValueRefused, naming the one that is not."""
    try:
        encode(request, "value", (args, kwargs), allowed)
    except ValueRefused as error:
        said = error.message.replace("value[0]", "args", 1).replace("value[1]", "kwargs", 1)
        raise ValueRefused(said, "Send plain data, sremote.allow(...) the type, or set trust=True.") from None
