"""The record of the latest launch of each name, in the user's state directory: JSON, one file each."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from sremote.errors import UsageError
from sremote.launcher.plan import Plan
from sremote.launcher.result import LaunchResult


def record_file(name: str) -> Path:
    """Return where the record of the launch of that name is, or would be."""
    from platformdirs import user_state_path

    return user_state_path("sremote", appauthor=False) / "launches" / f"{name}.json"


def save_record(plan: Plan, result: LaunchResult) -> None:
    """Write the record: the result, and which user it was.  Nothing secret is in it."""
    path = record_file(plan.options.screen)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        json.dump({**result.to_json(), "user": plan.options.user}, file, indent=2)
    Path(aside).replace(path)


def read_record(name: str) -> dict[str, Any]:
    """Return the record of the launch of that name.  Raises UsageError where there is none."""
    path = record_file(name)
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    except FileNotFoundError:
        raise UsageError(
            f"no launch called {name!r} is known here", "Give its configuration with -c, or its name with --screen."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
