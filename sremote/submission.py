"""What a user wishes for a durable job, beyond what it is to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sremote.connectors.batch import Resources
from sremote.errors import UsageError
from sremote.interpreter.wire import Message


@dataclass(frozen=True)
class Wishes:
    """How a job is to be run; ``label`` says for people what it is."""

    label: str
    walltime: float | None = None
    retries: int = 0
    scheduler: str | None = None
    resources: Resources | Mapping[str, Any] | None = None
    files: Sequence[str | Path] | Mapping[str, str | Path] = ()
    outputs: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot be, before anything is sent."""
        if self.retries < 0:
            raise UsageError(f"{self.retries} retries cannot be")
        if isinstance(self.outputs, str):
            raise UsageError(f"outputs is {self.outputs!r}, not a list", "For one: ['result.csv'].")
        if isinstance(self.files, str):
            raise UsageError(f"files is {self.files!r}, not a list", "For one: ['input.csv'].")
        for name in (*self.outputs, *self.named_files()):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise UsageError(f"{name!r} leads out of the job's folder", "Name it relative to that folder.")
        if self.scheduler is None and self.resources is not None:
            raise UsageError("resources are what a scheduler gives", "Say scheduler='auto', or leave them out.")
        self.read_resources()

    def named(self, label: str) -> Wishes:
        """Return the same wishes for a job that is called ``label``."""
        return dataclasses.replace(self, label=label)

    @property
    def needs_folder(self) -> bool:
        """Whether the job is to run in a folder of its own."""
        return bool(self.files or self.outputs)

    def named_files(self) -> dict[str, Path]:
        """Return the files to copy, by their names in the job's folder.  Raises UsageError for those not here."""
        given = self.files
        named = given if isinstance(given, Mapping) else {Path(path).resolve().name: path for path in given}
        for path in named.values():
            if not Path(path).exists():
                raise UsageError(f"there is no file {path}")
        return {name: Path(path) for name, path in named.items()}

    def read_resources(self) -> Resources:
        """Return what it asks of a batch system; its time limit is that of the job where no other is given."""
        from sremote.schedulers.resources import read_resources

        asked = read_resources(self.resources)
        if asked.array is not None:
            raise UsageError("an array is many jobs", "For a function of many items: client.map.")
        if asked.walltime is None and self.walltime is not None:
            return dataclasses.replace(asked, walltime=self.walltime)
        return asked


def command_request(argv: Sequence[str], stdin: bytes) -> Message:
    """Return the request for a command, with its input.  Raises UsageError where ``argv`` is not a command."""
    if isinstance(argv, str | bytes) or not argv:
        raise UsageError(f"{argv!r} is not a command", "Give it as a list: ['ls', '-l'].")
    request = Message({})
    if stdin:
        request.add("stdin", stdin)
    return request
