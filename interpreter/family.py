"""A job's processes: its children and theirs, also those that have left its session."""

import contextlib
import os
from typing import Dict, Iterable, List, Mapping, Optional, Set

MARK = "SREMOTE_JOB"
"""The environment variable that tells a job's processes from all others."""


def family(pid: int, job_id: str) -> Set[int]:
    """Return the processes of a job that began as ``pid``: its descendants, its session, and those with its mark.

    The mark is SREMOTE_JOB in the environment that a program was started with.  What
    a job forked and orphaned, in a session of its own, without starting a program in
    it, cannot be known.
    """
    return ({pid} | set(families({job_id: pid}))) - {os.getpid(), 1}


def families(jobs: Mapping[str, Optional[int]]) -> Dict[int, str]:
    """Return the living processes of several jobs, each with its job's id.

    ``jobs`` says by id as which process each began; None for one where that has ended.
    """
    leaders = {pid: job_id for job_id, pid in jobs.items() if pid is not None}
    marks = {"{}={}".format(MARK, job_id).encode(): job_id for job_id in jobs}
    found: Dict[int, str] = {}
    children: Dict[int, List[int]] = {}
    for name in _listing():
        if not name.isdigit():
            continue
        number = int(name)
        try:
            with open("/proc/{}/stat".format(name), "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            if fields[0] in (b"Z", b"X"):
                continue
            with open("/proc/{}/environ".format(name), "rb") as file:
                marked = [entry for entry in file.read().split(b"\0") if entry in marks]
        except OSError:  # it has ended, or is another user's
            continue
        children.setdefault(int(fields[1]), []).append(number)
        if int(fields[3]) in leaders:
            found[number] = leaders[int(fields[3])]
        elif marked:
            found[number] = marks[marked[0]]
    unseen = list(found)
    while unseen:
        parent = unseen.pop()
        for child in children.get(parent, ()):
            if child not in found:
                found[child] = found[parent]
                unseen.append(child)
    return {pid: job_id for pid, job_id in found.items() if pid not in (os.getpid(), 1)}


def kill_family(processes: Iterable[int], number: int) -> None:
    """Send a signal to each of these processes that still is there."""
    for pid in processes:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _listing() -> List[str]:
    try:
        return os.listdir("/proc")
    except OSError:  # not Linux: then the job's own process is what is known
        return []
