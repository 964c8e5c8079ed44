"""A call's surroundings, as the user gives them and as a request carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from sremote.errors import UsageError
from sremote.host import Host
from sremote.interpreter.wire import Header


class Surroundings(TypedDict, total=False):
    """What a call finds around it; the keyword arguments of ``Client.call``, ``run`` and ``session``."""

    env: Mapping[str, str]
    """Environment variables to set."""
    env_default: Mapping[str, str]
    """Environment variables to set where they are unset."""
    path: Sequence[str]
    """Folders to append to PATH."""
    cwd: str | None
    """The working directory, absolute or relative to home; home by default."""
    login_env: bool
    """Whether to start from the environment of the user's login shell."""


def surroundings_header(given: Surroundings, host: Host, *, login_env: bool) -> Header:
    """Return ``given`` as a request's header has it, with the host's defaults.  Raises UsageError for unknown keys."""
    unknown = sorted(given.keys() - Surroundings.__annotations__.keys())
    if unknown:
        known = ", ".join(Surroundings.__annotations__)
        raise UsageError(f"there is no option {unknown[0]!r}", f"Those for a call's surroundings: {known}.")
    return {
        "env": dict(given.get("env") or {}),
        "env_default": dict(given.get("env_default") or {}),
        "path": list(given.get("path") or ()),
        "cwd": given.get("cwd") or host.working,
        "temporary": host.temporary,
        "login_env": given.get("login_env", login_env),
    }
