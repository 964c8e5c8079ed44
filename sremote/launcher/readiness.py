"""When a component counts as started."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sremote.errors import UsageError

DEFAULT_TIMEOUT = 60.0
"""Seconds for a component to become ready."""


@dataclass(frozen=True)
class Readiness:
    """What a component is waited for; one of ``port``, ``output`` and ``file`` is set."""

    port: int | None = None
    """A port of its host that answers."""
    output: str | None = None
    """A regular expression that a line of its output matches."""
    file: str | None = None
    """A path on its host that is there; relative where base_dir is a temporary folder."""
    timeout: float = DEFAULT_TIMEOUT

    def __str__(self) -> str:
        for kind in ("port", "output", "file"):
            if (value := getattr(self, kind)) is not None:
                return f"{kind} {value}"
        raise AssertionError("one of them is set")

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {kind: value for kind, value in vars(self).items() if value is not None}


def read_readiness(ready: int | Mapping[str, Any] | None, base_dir: str | None) -> Readiness | None:
    """Return what a component's ``ready`` says.  Raises UsageError with what is wrong."""
    if ready is None:
        return None
    given = {"port": ready} if isinstance(ready, int) and not isinstance(ready, bool) else ready
    known = ("port", "output", "file")
    if not isinstance(given, Mapping) or given.keys() - {*known, "timeout"} or len(given.keys() & set(known)) != 1:
        raise UsageError(
            f"ready is {ready!r}; it is a port, or a dict with 'port', 'output' or 'file', and perhaps 'timeout'"
        )
    found = Readiness(**given)
    if found.port is not None and (not isinstance(found.port, int) or not 0 < found.port < 65536):
        raise UsageError(f"ready: {found.port!r} is not a port")
    if not isinstance(found.timeout, int | float) or found.timeout <= 0:
        raise UsageError(f"ready: {found.timeout!r} is not a number of seconds")
    if found.output is not None:
        try:
            re.compile(found.output)
        except (re.error, TypeError) as error:
            raise UsageError(f"ready: {found.output!r} is not a regular expression: {error}") from error
    if found.file is not None:
        path = str(found.file)
        return Readiness(
            file=path if path.startswith(("/", "~/")) else posixpath.join(base_dir or "", path), timeout=found.timeout
        )
    return found
