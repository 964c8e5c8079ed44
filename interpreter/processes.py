"""What tells a process from any other, also later and from elsewhere: host, boot, pid and start time."""

import functools
import os
from typing import Any, Dict, Optional

HOST = os.uname().nodename
"""This host's name."""


def this_process() -> Dict[str, Any]:
    """Return what tells this process from any other: host, boot, pid and start time."""
    return describe_process(os.getpid())


def describe_process(pid: int) -> Dict[str, Any]:
    """Return the same of another process on this host."""
    return {"host": HOST, "boot": _boot(), "pid": pid, "started": _started(pid)}


def is_alive(process: Dict[str, Any]) -> Optional[bool]:
    """Say whether a process described by ``this_process`` lives; None where that cannot be told from here."""
    if process.get("host") != HOST:
        return None
    if process.get("boot") != _boot():
        return False
    pid = process.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return bool(_started(pid) == process.get("started"))


@functools.lru_cache(maxsize=None)
def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return the process's start in clock ticks since boot (proc(5), field 22 of stat); "" where unknown."""
    try:
        with open("/proc/{}/stat".format(pid), "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    # A zombie has ended: it only waits to be reaped.
    return "" if fields[0] == b"Z" else fields[19].decode()
