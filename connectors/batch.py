"""What a batch system is asked: to submit a script, how its jobs are, to cancel one, to find one by its name.

A host's scheduler is asked through commands (``sremote.schedulers``); a gateway that
has a queue of its own answers by HTTP (``Connector.batch``).  Both give a
``BatchSystem``, so a job is submitted in the same way whatever stands behind.
"""

from __future__ import annotations

import abc
import enum
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Resources:
    """What a job asks of a batch system, in words that all of them know; None leaves it to the site."""

    nodes: int | None = None
    tasks: int | None = None
    """Processes in all, as MPI ranks are counted."""
    cores: int | None = None
    """Cores for each task."""
    memory: int | None = None
    """Bytes for each node."""
    gpus: int | None = None
    """GPUs for each node."""
    walltime: float | None = None
    """Seconds that it may run."""
    queue: str | None = None
    """The queue or partition."""
    account: str | None = None
    """The account or project that pays."""
    array: int | None = None
    """How many times the script is to run, each with an index that counts from 0."""
    at_once: int | None = None
    """How many of the array may run at the same time."""
    after: Sequence[str] = ()
    """The batch system's ids of jobs that must have succeeded first."""
    requeue: bool = False
    """Whether the batch system may start it again by itself after a failure of a node."""
    extra: Sequence[str] = ()
    """Further lines for the script's head, as the batch system has them: ``#SBATCH --constraint=gpu``."""
    preamble: str | None = None
    """Lines of shell to run first, such as ``module load python``."""
    launcher: str | None = None
    """What starts the tasks, such as ``mpiexec -n 8``; ``none`` where the command does that itself."""


@dataclass(frozen=True)
class BatchScript:
    """A job as a batch system gets it."""

    name: str
    """Holds the job's id, so that the job can be found again when the answer to its submission was lost."""
    command: Sequence[str]
    """What to run; for an array each runs it with the index in ``SREMOTE_INDEX``."""
    resources: Resources
    folder: str
    """The absolute folder to run in.  What the script itself prints is appended to the file ``batch`` in it, which is
    there once the script has begun."""
    comment: str = ""
    """What it is, for people who look at the queue; left out where a batch system has no place for it."""


class BatchState(enum.Enum):
    """How a batch system says that a job is."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WALLTIME = "walltime"
    """It was stopped at its time limit."""
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self not in (BatchState.QUEUED, BatchState.HELD, BatchState.RUNNING)


@dataclass(frozen=True)
class BatchJob:
    """A job as a batch system tells of it."""

    id: str
    """The batch system's own id, which may be used again for another job later."""
    name: str
    state: BatchState
    reason: str = ""
    """Why it waits or failed, in the batch system's words."""
    exit_status: int | None = None
    nodes: Sequence[str] = ()
    elements: Mapping[int, BatchState] = field(default_factory=dict)
    """Of an array: how each is, by its index, as far as the batch system tells; ``state`` is then that of the array:
    running while one of them runs, queued while one waits, else the worst of them."""


class BatchSystem(abc.ABC):
    """A scheduler or a gateway's queue.

    Errors: ``LineError`` where it gives no answer, ``SchedulerAway`` among them where
    the host answers but its batch system does not (then nothing is known: a submission
    may have been taken, and a job may be well), ``HostError`` where it refuses,
    ``UsageError`` where it has no way to give what the resources ask for.
    """

    name: str
    """What messages call it: slurm, pbs, firecrest."""

    @abc.abstractmethod
    def submit(self, script: BatchScript) -> str:
        """Submit a job and return the batch system's id.  After a LineError: look with ``find`` before another try."""

    @abc.abstractmethod
    def jobs(self, ids: Sequence[str]) -> Mapping[str, BatchJob]:
        """Return how jobs are, in one request.  One that the batch system does not know, or no longer, is left out."""

    @abc.abstractmethod
    def find(self, name: str) -> BatchJob | None:
        """Return the newest job of this user with that name; None where there is none to be seen."""

    def own_name(self, name: str) -> str:
        """Return the name that its jobs bear where a script asks for ``name``; some cut long ones."""
        return name

    def launcher(self, resources: Resources) -> Sequence[str]:
        """Return the words that start a command once for each task; none where there is one task."""
        if resources.launcher == "none" or (resources.launcher is None and (resources.tasks or 1) == 1):
            return []
        return self.own_launcher(resources) if resources.launcher is None else shlex.split(resources.launcher)

    def own_launcher(self, resources: Resources) -> Sequence[str]:
        """Return the launcher where the user names none."""
        return ["mpiexec", "-n", str(resources.tasks)]

    @abc.abstractmethod
    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs; nothing where they have ended."""
