"""The contract of a scheduler's adapter: commands to give it, and what its answers mean."""

from __future__ import annotations

import abc
import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from sremote.connectors.batch import BatchJob, BatchScript, BatchState, Resources
from sremote.connectors.errors import HostError, SchedulerAway, UsageError

EXIT_PREAMBLE = 97
"""What a script ends with where its preamble failed."""
INDEX = "SREMOTE_INDEX"
"""The environment variable that tells an element of an array its index, from 0."""


@dataclass(frozen=True)
class Command:
    """A command for the host."""

    argv: Sequence[str]
    stdin: str = ""
    name: str = ""
    """What messages call it, where that is not its first word."""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """The message of a failed command: its lines on stderr, or else on stdout, as one."""
        lines = [line.strip() for line in (self.stderr.strip() or self.stdout).splitlines()]
        return "; ".join(line for line in lines if line) or f"exit status {self.status}"


class Adapter(abc.ABC):
    """One kind of scheduler.  Pure: no method does anything but make commands and read answers.

    The methods that read an answer raise SchedulerAway where it tells nothing of the
    jobs, HostError where it is a refusal.
    """

    name: ClassVar[str]
    """What users and messages call it."""
    programs: ClassVar[Sequence[str]]
    """Commands by whose presence it is known, all of them."""
    away: ClassVar[Sequence[str]]
    """What its commands say where they do not reach the scheduler, in lower case."""
    absent: ClassVar[Sequence[str]] = ()
    """What they say, in lower case, where they are installed and there is no scheduler behind them."""

    @abc.abstractmethod
    def script(self, script: BatchScript) -> str:
        """Return the batch script.  Raises UsageError where it has no way to give what is asked for."""

    @abc.abstractmethod
    def submit_command(self, script: BatchScript) -> Command:
        """Return the command that submits a job."""

    @abc.abstractmethod
    def submitted(self, answer: Answer) -> str:
        """Return the id of the job that was submitted."""

    @abc.abstractmethod
    def query_command(self, ids: Sequence[str]) -> Command:
        """Return the command that asks how jobs are."""

    @abc.abstractmethod
    def find_command(self, name: str) -> Command:
        """Return the command that asks for the jobs with a name."""

    @abc.abstractmethod
    def jobs(self, answer: Answer) -> Sequence[BatchJob]:
        """Return the jobs that the answer to either question tells of, oldest first, whole arrays as one."""

    @abc.abstractmethod
    def cancel_command(self, ids: Sequence[str]) -> Command:
        """Return the command that cancels jobs."""

    def cancelled(self, answer: Answer) -> None:
        """Read the answer to it; jobs that are unknown have ended."""
        if answer.status != 0:
            self.check_reached(answer)

    def job_name(self, name: str) -> str:
        """Return ``name`` as the scheduler keeps it, where it has its own idea of names."""
        return name

    def own_launcher(self, resources: Resources) -> Sequence[str]:
        """Return the launcher where the user names none."""
        return ["mpiexec", "-n", str(resources.tasks)]

    def check_reached(self, answer: Answer) -> None:
        """Raise SchedulerAway where a command has not reached the scheduler."""
        said = answer.said.lower()
        if any(words in said for words in self.away):
            raise SchedulerAway(f"{self.name} gives no answer: {answer.said}")

    def check_submitted(self, answer: Answer) -> None:
        """Raise what a failed submission means."""
        if answer.status != 0:
            self.check_reached(answer)
            raise HostError(f"{self.name} refuses the job: {answer.said}")

    def unreadable(self, answer: Answer) -> SchedulerAway:
        """Return the error for an answer that cannot be read, which tells nothing of any job."""
        return SchedulerAway(f"{self.name} gives an answer that cannot be read: {answer.said[:200]!r}")

    def without(self, resources: Resources, **reasons: str) -> None:
        """Raise UsageError where a resource is asked for that this scheduler does not know, by name and reason."""
        for key, reason in reasons.items():
            if getattr(resources, key) not in (None, False, ()):
                raise UsageError(f"{self.name} has no way to give {key!r}: {reason}", f"Leave {key!r} out.")


def render(script: BatchScript, directives: Sequence[str], index: str, *first: str) -> str:
    """Return a batch script: the scheduler's directives, the preamble, and the command.

    ``index`` is a shell expression for an array element's index, from 0; ``first`` are
    lines to run first of all.  What the script prints is appended to its folder's file
    ``batch``.
    """
    resources = script.resources
    # Only a login bash has such things as `module`.
    lines = ["#!/bin/bash -l" if resources.preamble else "#!/bin/sh", *directives, *resources.extra, "", *first]
    lines += [f"cd {shlex.quote(script.folder)} || exit", "exec >>batch 2>&1 </dev/null"]
    if resources.array is not None:
        lines.append(f"export {INDEX}={index}")
    if resources.preamble:
        lines += ["{", *resources.preamble.splitlines()]
        lines.append(f"}} || {{ echo 'sremote: the preamble failed'; exit {EXIT_PREAMBLE}; }}")
    lines.append(f"exec {shlex.join(script.command)}")
    return "\n".join(lines) + "\n"


_ORDER = (
    BatchState.RUNNING,
    BatchState.QUEUED,
    BatchState.HELD,
    BatchState.NODE_FAILED,
    BatchState.OUT_OF_MEMORY,
    BatchState.WALLTIME,
    BatchState.FAILED,
    BatchState.CANCELLED,
    BatchState.COMPLETED,
)


def join_arrays(jobs: Sequence[tuple[BatchJob, int | None]]) -> list[BatchJob]:
    """Join elements of arrays to one job each: pairs of a job with its array's id, and its index or None.

    The joined job has the state, reason and nodes of that element which tells most of the array.
    """
    found: dict[str, BatchJob] = {}
    for job, index in jobs:
        before = found.get(job.id)
        elements: Mapping[int, BatchState] = before.elements if before else {}
        if index is not None:
            elements = {**elements, index: job.state}
        if before is None or _ORDER.index(job.state) < _ORDER.index(before.state):
            before = job
        found[job.id] = dataclasses.replace(before, elements=elements)
    return list(found.values())


def hours_minutes_seconds(seconds: float) -> str:
    """Return a duration as ``H:MM:SS``, at least a second."""
    whole = max(1, round(seconds))
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def kibibytes(size: int) -> int:
    """Return bytes as KiB, rounded up."""
    return -(-size // 1024)
