"""Call Python, run jobs and launch programs on any machine you can reach.

import sremote

with sremote.connect("user@host") as client:
    client.call("platform", "python_version")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sremote.allowed import allow
    from sremote.answers import CommandResult, Facts, Leftover
    from sremote.client import Client
    from sremote.connection import connect
    from sremote.errors import SremoteError
    from sremote.executor import Executor
    from sremote.interpreter.progress import progress
    from sremote.interpreter.ranks import rank, ranks
    from sremote.job_handle import Job, job, jobs
    from sremote.job_status import JobState, JobStatus
    from sremote.queue import Queue
    from sremote.response import Response
    from sremote.session import Session
    from sremote.tasks import Task
    from sremote.version import __version__

_PLACES = {
    "Client": "client",
    "CommandResult": "answers",
    "Executor": "executor",
    "Facts": "answers",
    "Job": "job_handle",
    "JobState": "job_status",
    "JobStatus": "job_status",
    "Leftover": "answers",
    "Queue": "queue",
    "Response": "response",
    "Session": "session",
    "SremoteError": "errors",
    "Task": "tasks",
    "__version__": "version",
    "allow": "allowed",
    "connect": "connection",
    "job": "job_handle",
    "jobs": "job_handle",
    "progress": "interpreter.progress",
    "rank": "interpreter.ranks",
    "ranks": "interpreter.ranks",
}

__all__ = [
    "Client",
    "CommandResult",
    "Executor",
    "Facts",
    "Job",
    "JobState",
    "JobStatus",
    "Leftover",
    "Queue",
    "Response",
    "Session",
    "SremoteError",
    "Task",
    "__version__",
    "allow",
    "connect",
    "job",
    "jobs",
    "progress",
    "rank",
    "ranks",
]


def __getattr__(name: str) -> object:
    """Import what is asked for only then, so that ``import sremote`` costs next to nothing."""
    if name in _PLACES:
        return getattr(import_module(f"sremote.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'sremote' has no attribute {name!r}")
