"""Keeps a process alive where the host ends all that a user runs when the user logs out."""

import os
import shutil
from typing import Sequence

_OR_AS_IT_IS = '"$@" || { shift 7; exec "$@"; }'


def in_own_scope(program: Sequence[str]) -> None:
    """Go on as ``program --supervise`` in a scope of the user's own systemd; nothing where that cannot be.

    A login session's processes may be killed at its end (logind.conf(5),
    KillUserProcesses); a user's own systemd stays, where lingering is allowed.
    """
    systemd_run = shutil.which("systemd-run")
    if systemd_run is None or not is_in_session() or not lingers():
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", runtime_folder())
    scope = [systemd_run, "--user", "--scope", "--quiet", "--collect", "--description=sremote jobs", "--"]
    os.execv("/bin/sh", ["/bin/sh", "-c", _OR_AS_IT_IS, "sh"] + scope + list(program) + ["--supervise"])


def is_in_session() -> bool:
    """Say whether this process belongs to a login session of systemd-logind."""
    try:
        with open("/proc/self/cgroup") as file:
            return any("/session-" in line and ".scope" in line for line in file)
    except OSError:
        return False


def lingers() -> bool:
    """Say whether the user's own systemd runs and stays when the user logs out."""
    try:
        import pwd

        name = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return False
    linger = os.path.join("/var/lib/systemd/linger", name)
    return os.path.exists(linger) and os.path.exists(os.path.join(runtime_folder(), "systemd", "private"))


def runtime_folder() -> str:
    """Return where the user's own systemd listens."""
    return os.environ.get("XDG_RUNTIME_DIR") or "/run/user/{}".format(os.getuid())
