"""The connection that ssh's sessions share (ControlMaster): signed in once, then used by every command.

A master is a process of the ssh program in the background that listens on a socket
in a folder that only the user can enter.  One that ran out of use ends by itself
after ``IDLE`` seconds; one that ``sremote login`` made stays until ``sremote logout``
or until its line drops.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sremote.connectors.errors import LineTimeout, UsageError

IDLE = 60
"""Seconds without a command after which a master ends."""
SESSIONS = 8
"""Commands that run over one master at once.  A server's MaxSessions is 10 unless set; beyond
it ssh silently opens further connections, each with a sign-in of its own."""
_NAME = 24
"""Letters of a socket's name, a digest."""
_PATH_LIMIT = 104 - 18
"""Bytes of a socket's path: 104 on BSD and macOS, less what ssh appends while it makes the socket."""
_IDENTITY = (
    "hostname",
    "port",
    "user",
    "hostkeyalias",
    "proxyjump",
    "proxycommand",
    "identityfile",
    "certificatefile",
    "identityagent",
)
"""The settings that decide where a connection leads and as whom."""


def control_path(settings: Mapping[str, str]) -> Path:
    """Return the socket of the master for a host, given what ``ssh -G`` says of it."""
    identity = [socket.gethostname(), *(settings.get(key, "") for key in _IDENTITY)]
    return private_folder() / hashlib.sha256("\0".join(identity).encode()).hexdigest()[:_NAME]


def private_folder() -> Path:
    """Return a folder that only the user can enter, with a path short enough for sockets; it is made where missing."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    folders = [Path(runtime, "sremote"), Path("/tmp", f"sremote-{os.getuid()}")]  # noqa: S108  seen to be private
    for folder in folders:
        if len(os.fsencode(folder)) < _PATH_LIMIT - _NAME and _is_private(folder):
            return folder
    raise UsageError(
        f"there is no private folder for ssh's sockets: {folders[-1]} is not yours alone",
        "Set XDG_RUNTIME_DIR to a folder of yours that has a short path and mode 0700.",
    )


def _is_private(folder: Path) -> bool:
    """Make a folder that only the user can enter; say whether it is one."""
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return False


def is_listening(path: Path) -> bool:
    """Say whether a master listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


@functools.cache
def sessions(path: Path) -> threading.BoundedSemaphore:  # noqa: ARG001  one for each path
    """Return the count of the sessions that this process may still open over a master."""
    return threading.BoundedSemaphore(SESSIONS)


@contextmanager
def alone(path: Path, name: str, timeout: float) -> Iterator[None]:
    """Let one process at a time start the master at ``path``.

    Raises LineTimeout where another is at it for longer than ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    with path.with_suffix(".lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LineTimeout(
                        f"{name}: another process has been signing in for {timeout:g} seconds", "Try again."
                    ) from None
                time.sleep(0.02)
        yield
