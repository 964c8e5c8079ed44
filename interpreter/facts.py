"""What a host is: its Python, platform, home, scheduler, file system and free space."""

import os
import platform
import shutil
import sys
from typing import Any, Dict, Optional

SCHEDULERS = {
    "slurm": "sbatch",
    "flux": "flux",
    "lsf": "bsub",
    "pbs": "qsub",
    "sge": "qconf",
}
"""Batch schedulers, and the command by whose presence each is known; SGE has ``qsub`` too."""


def facts(root: str) -> Dict[str, Any]:
    """Return what this host is; ``root`` is the folder whose file system is meant."""
    space = os.statvfs(root)
    return {
        "hostname": os.uname().nodename,
        "user": _user(),
        "home": os.path.expanduser("~"),
        "python": sys.executable,
        "version": list(sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": _cores(),
        "memory": _memory(),
        "scheduler": _scheduler(),
        "root": root,
        "file_system": _file_system(root),
        "free_bytes": space.f_bavail * space.f_frsize,
        "free_inodes": space.f_favail,
    }


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return str(os.environ.get("USER", ""))


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _memory() -> Optional[int]:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _scheduler() -> Optional[str]:
    found = [name for name, command in SCHEDULERS.items() if shutil.which(command)]
    if "sge" in found and "pbs" in found:
        found.remove("pbs")
    return found[0] if found else None


def _file_system(path: str) -> Optional[str]:
    """Return the type of the file system that holds ``path`` (proc(5), mounts); None where unknown."""
    path = os.path.realpath(path)
    best, kind = "", None
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                _, place, found, _ = line.split(" ", 3)
                place = place.replace("\\040", " ")
                if (path + "/").startswith(place.rstrip("/") + "/") and len(place) >= len(best):
                    best, kind = place, found
    except OSError:
        return None
    return kind
