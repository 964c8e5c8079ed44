"""All errors, one tree.  Each says what happened, where, and what to do next.

SremoteError
├── UsageError (ValueError)             what was asked for cannot be              exit status 2
├── ValueRefused (TypeError)            a value that is not plain data            1
├── FormatError                         a file that is not a message              1
├── ChannelClosed (OSError)             nothing more goes over that channel       1
├── ChannelTimeout (TimeoutError)       nothing came over it in time              1
├── LineError (ConnectionError)         the way to the host failed                3
│   ├── HostUnreachable
│   ├── HostKeyError
│   ├── SignInRefused
│   ├── ConnectionLost
│   ├── LineTimeout (TimeoutError)
│   ├── SchedulerAway                   the host answers, its batch system does not
│   └── MailboxEnded                    the job that served a mailbox has ended
├── HostError (OSError)                 the host refused                          1
│   ├── FileMissing (FileNotFoundError)
│   ├── PermissionRefused (PermissionError)
│   └── HostFull
├── NotReady                            the host lacks what the call needs        4
│   ├── PythonMissing                   no usable Python found there
│   ├── NotInstalled                    no such environment, module or function
│   └── VersionMismatch                 versions disagree; nothing was run
├── JobError                            the call ended without a value            1
│   ├── RemoteError                     it raised an exception unknown here
│   ├── RemoteExit                      it ended its process: sys.exit, os._exit
│   ├── RemoteKilled                    a signal ended it
│   │   └── RemoteOutOfMemory (MemoryError)
│   ├── WalltimeExceeded (TimeoutError) it was stopped at its time limit
│   ├── JobCancelled                    its user cancelled it
│   └── JobLost                         its process is gone and left no response
├── NotFinished (TimeoutError)          a job has not ended yet                   5
└── OutcomeUnknown                      nobody can tell yet whether it ran        5

An exception that the function raised comes back as itself where its class is a
builtin or belongs to a module that the caller has imported; its ``remote``
attribute is then a ``RemoteContext``, as is that of every JobError.
"""

from __future__ import annotations

from dataclasses import dataclass

from sremote.connectors.errors import (
    ConnectionLost,
    FileMissing,
    HostError,
    HostFull,
    HostKeyError,
    HostUnreachable,
    LineError,
    LineTimeout,
    MailboxEnded,
    PermissionRefused,
    SchedulerAway,
    SignInRefused,
    UsageError,
)
from sremote.interpreter.errors import ChannelClosed, ChannelTimeout, FormatError, SremoteError, ValueRefused

__all__ = [
    "ChannelClosed",
    "ChannelTimeout",
    "ConnectionLost",
    "FileMissing",
    "FormatError",
    "HostError",
    "HostFull",
    "HostKeyError",
    "HostUnreachable",
    "JobCancelled",
    "JobError",
    "JobLost",
    "LineError",
    "LineTimeout",
    "MailboxEnded",
    "NotFinished",
    "NotInstalled",
    "NotReady",
    "OutcomeUnknown",
    "PermissionRefused",
    "PythonMissing",
    "RemoteContext",
    "RemoteError",
    "RemoteExit",
    "RemoteKilled",
    "RemoteOutOfMemory",
    "SchedulerAway",
    "SignInRefused",
    "SremoteError",
    "UsageError",
    "ValueRefused",
    "VersionMismatch",
    "WalltimeExceeded",
]


@dataclass(frozen=True)
class RemoteContext:
    """Where a call failed, and what it had said until then."""

    host: str
    """The host as the user wrote it."""
    job_id: str
    traceback: str
    """The remote traceback; empty where there is none."""
    stdout: str
    stderr: str


class NotReady(SremoteError):
    """The host lacks something that the call needs; the function has not run."""

    exit_status = 4


class PythonMissing(NotReady):
    """No usable Python was found on the host."""


class NotInstalled(NotReady):
    """The environment, module or function that was asked for is not there."""


class VersionMismatch(NotReady):
    """Versions disagree, or code cannot travel between these two Pythons."""


class JobError(SremoteError):
    """A call that ended without a value."""

    def __init__(self, message: str, remedy: str | None = None, *, remote: RemoteContext | None = None) -> None:
        super().__init__(message, remedy)
        self.remote = remote


class RemoteError(JobError):
    """The function raised an exception whose class is not known here."""

    def __init__(self, message: str, *, type_name: str, remote: RemoteContext | None = None) -> None:
        super().__init__(message, remote=remote)
        self.type_name = type_name
        """The exception's class over there, as ``module.Class``."""


class RemoteExit(JobError):
    """The function ended its process instead of returning."""

    def __init__(self, message: str, *, status: int, remote: RemoteContext | None = None) -> None:
        super().__init__(message, remote=remote)
        self.status = status
        """The process's exit status."""


class RemoteKilled(JobError):
    """A signal ended the function's process."""

    def __init__(
        self, message: str, remedy: str | None = None, *, signal: int, remote: RemoteContext | None = None
    ) -> None:
        super().__init__(message, remedy, remote=remote)
        self.signal = signal
        """The signal's number."""


class RemoteOutOfMemory(RemoteKilled, MemoryError):
    """The host's kernel killed the function's process for want of memory."""


class WalltimeExceeded(JobError, TimeoutError):
    """The call ran into its time limit and was stopped, with all its children."""


class JobCancelled(JobError):
    """The job was cancelled, before it began or while it ran."""


class JobLost(JobError):
    """The job's process is gone and left no response; it may have run to its end."""


class NotFinished(SremoteError, TimeoutError):
    """The job has not ended in the time that the caller would wait; it goes on."""

    exit_status = 5


class OutcomeUnknown(SremoteError):
    """The line failed and nobody can tell yet whether the call ran; its id finds it later."""

    exit_status = 5

    def __init__(self, message: str, remedy: str | None = None, *, job_id: str) -> None:
        super().__init__(message, remedy)
        self.job_id = job_id
