"""The text of a job's script, for gateways that take one: what to do first, then the command."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from sremote.connectors.batch import BatchScript
from sremote.connectors.shell import command_line


def script_text(script: BatchScript, directives: Sequence[str] = ()) -> str:
    """Return a script for ``/bin/sh`` with a head of ``directives``; what it prints goes to the file ``batch``."""
    output = posixpath.join(script.folder, "batch")
    lines = [
        "#!/bin/sh",
        *directives,
        *script.resources.extra,
        f"exec >>{quoted(output)} 2>&1",
        *([script.resources.preamble] if script.resources.preamble else []),
        command_line(script.command),
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a word as a shell takes it."""
    return "'" + text.replace("'", "'\\''") + "'"


def clock(seconds: float) -> str:
    """Return a time as Slurm has it: hours, minutes and seconds."""
    whole = max(1, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
