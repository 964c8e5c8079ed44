"""Finds the adapter of a scheduler among the installed entry points."""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points

from sremote.connectors.errors import UsageError
from sremote.schedulers.adapter import Adapter

GROUP = "sremote.schedulers"
"""The entry point group: the name is what users give, the object is an Adapter class."""


def scheduler_names() -> list[str]:
    """Return the names of the schedulers that have an adapter here, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def make_adapter(name: str) -> Adapter:
    """Return the adapter of a scheduler.  Raises UsageError where there is none."""
    for entry in entry_points(group=GROUP, name=name):
        kind: type[Adapter] = entry.load()
        return kind()
    near = difflib.get_close_matches(name, scheduler_names(), 1)
    raise UsageError(
        f"there is no scheduler {name!r}",
        f"Did you mean {near[0]!r}?" if near else f"Those known: {', '.join(scheduler_names())}, and 'auto'.",
    )
