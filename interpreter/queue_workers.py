"""Which workers of a queue live: judged from their processes and jobs, never by a clock."""

import os
from typing import Container, Optional

from .processes import HOST, is_alive, this_process
from .queue_state import Worker
from .wire import Header


def about_this_process(job: Optional[str]) -> Header:
    """Return what a worker tells of itself when it joins.

    ``process`` tells it from any other, ``namespace`` says in which space of
    process numbers; ``job`` is the job that it runs in, ``batch`` what a batch
    scheduler calls that.
    """
    about = {"process": this_process(), "namespace": _namespace(), "job": job}
    for scheduler, variable in _BATCH_JOBS:
        if os.environ.get(variable):
            about["batch"] = {"scheduler": scheduler, "id": os.environ[variable]}
            break
    return about


def is_gone(root: str, worker: Worker, known_dead: Container[int] = ()) -> Optional[bool]:
    """Say whether a worker is provably dead; None where nobody can tell from here.

    Proofs: its host has been started again or its process is gone, seen on that
    host; its job has left a response, or has been removed since; somebody who knows says so (``known_dead``
    holds the numbers of workers).
    """
    process = worker.about["process"]
    if process.get("host") == HOST and worker.about.get("namespace") == _namespace():
        alive = is_alive(process)
        if alive is not None:
            return not alive
    if worker.number in known_dead:
        return True
    job = worker.about.get("job")
    if job and os.path.isdir(os.path.join(root, "jobs")):
        folder = os.path.join(root, "jobs", job)
        if os.path.exists(os.path.join(folder, "response")) or not os.path.isdir(folder):
            return True
    return None


_BATCH_JOBS = (
    ("slurm", "SLURM_JOB_ID"),
    ("pbs", "PBS_JOBID"),
    ("lsf", "LSB_JOBID"),
    ("flux", "FLUX_JOB_ID"),
    ("sge", "JOB_ID"),
)
"""The variables in which batch schedulers tell a job its id."""


def _namespace() -> str:
    """Return what tells this container's process numbers from another's; "" where unknown (namespaces(7))."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
