"""The ``sremote`` program, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("sremote")
TIMEOUT = 60
"""Seconds that one run may take."""


def sremote(
    *arguments: object, status: int | None = 0, stdin: str = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``sremote`` with ``arguments``; check that it ends with ``status``, unless that is None.

    ``options`` are those of subprocess.run, such as ``env`` and ``cwd``.
    """
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=TIMEOUT, **options
    )
    if status is not None:
        assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr.split("sremote:")[-1]
    return done


def sremote_json(*arguments: object, status: int = 0, **options: Any) -> Any:
    """Run ``sremote`` with ``--json`` first; return the one object that it prints, and check that it prints no more."""
    done = sremote("--json", *arguments, status=status, **options)
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
