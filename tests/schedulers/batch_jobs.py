"""What the tests of batch systems share: a script, and waiting for a state."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from sremote.connectors.batch import BatchJob, BatchScript, BatchState, BatchSystem
from sremote.schedulers.resources import read_resources

DEADLINE = 60.0
"""Seconds that a job may take to come to a state."""
_numbers = itertools.count()


def script_of(folder: Path, command: Sequence[str], *, name: str = "", **resources: object) -> BatchScript:
    """Return a script with a name that no other has."""
    return BatchScript(
        name=name or f"sremote-{folder.name}-{next(_numbers)}",
        command=command,
        resources=read_resources(resources),
        folder=str(folder),
    )


def shell(text: str) -> list[str]:
    """Return the command that runs some shell."""
    return ["sh", "-c", text]


def await_state(batch: BatchSystem, job_id: str, *states: BatchState) -> BatchJob:
    """Return the job once it is in one of ``states``."""
    deadline = time.monotonic() + DEADLINE
    while True:
        job = batch.jobs([job_id]).get(job_id)
        if job is not None and job.state in states:
            return job
        assert time.monotonic() < deadline, f"waiting for {states}: {job}"
        time.sleep(0.1)


def await_file(path: Path, text: str = "") -> str:
    """Return what a file holds once that has ``text`` in it."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = path.read_text() if path.exists() else None
        if found is not None and text in found:
            return found
        assert time.monotonic() < deadline, f"waiting for {text!r} in {path}: {found!r}"
        time.sleep(0.05)
