"""What tells a process from any other, also later and from elsewhere: host, boot, pid and start time."""

import os

TYPE_CHECKING = False  # as typing has it, whose import takes as long as Python's start
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

HOST = os.uname().nodename
"""This host's name."""


def this_process() -> "Dict[str, Any]":
    """Return what tells this process from any other: host, boot, pid and start time."""
    return describe_process(os.getpid())


def describe_process(pid: int) -> "Dict[str, Any]":
    """Return the same of another process on this host."""
    return {"host": HOST, "boot": _boot(), "pid": pid, "started": _started(pid)}


def is_alive(process: "Dict[str, Any]") -> "Optional[bool]":
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


_known_boot: "List[str]" = []


def _boot() -> str:
    if not _known_boot:
        try:
            with open("/proc/sys/kernel/random/boot_id") as file:
                _known_boot.append(file.read().strip())
        except OSError:
            _known_boot.append("")
    return _known_boot[0]


def _started(pid: int) -> str:
    """Return the process's start in clock ticks since boot (proc(5), field 22 of stat); "" where unknown."""
    try:
        with open("/proc/{}/stat".format(pid), "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    # A zombie has ended: it only waits to be reaped.
    return "" if fields[0] == b"Z" else fields[19].decode()


def seconds_running(process: "Dict[str, Any]") -> float:
    """Return how long ago a process of this host was started; 0 where that is unknown."""
    try:
        with open("/proc/uptime") as file:
            return max(0.0, float(file.read().split()[0]) - int(process["started"]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def out_of_memory_kills() -> int:
    """Return how many processes this host's kernel has killed for want of memory (proc(5), vmstat)."""
    try:
        with open("/proc/vmstat") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
