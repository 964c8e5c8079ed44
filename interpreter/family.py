"""A job's processes: its children and theirs, also those that have left its session."""

import contextlib
import os
from typing import Dict, List, Set

_MARK = "SREMOTE_JOB"


def family(pid: int, job_id: str) -> Set[int]:
    """Return the processes of a job that began as ``pid``: its descendants, its session, and those with its mark.

    The mark is SREMOTE_JOB in the environment that a program was started with.  What
    a job forked and orphaned, in a session of its own, without starting a program in
    it, cannot be known.
    """
    found = {pid}
    children: Dict[int, List[int]] = {}
    mark = "{}={}".format(_MARK, job_id).encode()
    for name in _listing():
        if not name.isdigit():
            continue
        number = int(name)
        try:
            with open("/proc/{}/stat".format(name), "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            with open("/proc/{}/environ".format(name), "rb") as file:
                marked = mark in file.read().split(b"\0")
        except OSError:  # it has ended, or is another user's
            continue
        children.setdefault(int(fields[1]), []).append(number)
        if marked or int(fields[3]) == pid:
            found.add(number)
    unseen = list(found)
    while unseen:
        for child in children.get(unseen.pop(), ()):
            if child not in found:
                found.add(child)
                unseen.append(child)
    return found - {os.getpid(), 1}


def kill_family(processes: Set[int], number: int) -> None:
    """Send a signal to each of these processes that still is there."""
    for pid in processes:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _listing() -> List[str]:
    try:
        return os.listdir("/proc")
    except OSError:  # not Linux: then the job's own process is what is known
        return []
