"""The job directory: how a request is claimed once, and its response finished once.

    request     the request file
    claim/      made by the one runner that may run it; holds who that is (``owner``)
                and which process runs the user's code (``process``)
    stdout      what it has printed so far
    stderr
    response    the response file, renamed into place when it is whole and on disk

Only ``mkdir``, ``link`` and ``rename`` decide, since home directories are NFS,
Lustre or GPFS: no locks, and no clocks compared between hosts.
"""

import contextlib
import json
import os
import shutil
import socket
from typing import Any, BinaryIO, Dict, List, Optional

from .wire import Buffer, Message


class Job:
    """One job directory."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        self.id = os.path.basename(self.directory)
        self.incoming = self.directory + ".new"
        """Where its request is put together before it is a job."""

    def path(self, name: str) -> str:
        """Return the path of a file of this job."""
        return os.path.join(self.directory, name)

    def accept(self) -> bool:
        """Take over the request that is in ``incoming``; say whether there is a job now.

        A job of this id that is here already stays as it is, and the second request is dropped.
        """
        try:
            os.rename(self.incoming, self.directory)
        except FileNotFoundError:
            pass
        except OSError:
            self.drop_incoming()
        return os.path.isdir(self.directory)

    def receive(self) -> BinaryIO:
        """Open the request for writing, in an ``incoming`` folder of this process's own."""
        self.incoming = "{}.{}-{}.new".format(self.directory, socket.gethostname(), os.getpid())
        os.makedirs(self.incoming, mode=0o700, exist_ok=True)
        return open(os.open(os.path.join(self.incoming, "request"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")

    def drop_incoming(self) -> None:
        """Remove a request that has not become a job."""
        shutil.rmtree(self.incoming, ignore_errors=True)

    def open_outputs(self) -> List[int]:
        """Make the output files, and return descriptors to read stdout and stderr as they grow."""
        return [os.open(self.path(name), os.O_RDONLY | os.O_CREAT, 0o600) for name in ("stdout", "stderr")]

    def claim(self) -> bool:
        """Become the one runner of this job; False where another has been that already."""
        try:
            os.mkdir(self.path("claim"))
        except FileExistsError:
            return False
        self.sign("owner")
        return True

    def sign(self, role: str) -> None:
        """Note this process as the job's ``owner`` (who claimed it) or ``process`` (who runs the user's code)."""
        write_whole(self.path("claim/" + role), [json.dumps(dict(this_process(), role=role)).encode()], flush=False)

    def runners(self) -> List[Dict[str, Any]]:
        """Return the processes that signed the job, each with its host, boot, pid and start."""
        found = []
        for role in ("owner", "process"):
            try:
                with open(self.path("claim/" + role), "rb") as file:
                    found.append(json.loads(file.read().decode()))
            except (OSError, ValueError):
                continue
        return [runner for runner in found if isinstance(runner, dict)]

    def runs(self) -> Optional[bool]:
        """Say whether a process of this job lives; None where that cannot be told from here."""
        alive = [is_alive(runner) for runner in self.runners()]
        if True in alive:
            return True
        return None if None in alive or not alive else False

    def signal(self, number: int) -> None:
        """Send a signal to the job's living processes on this host, and to their children."""
        for runner in self.runners():
            if is_alive(runner):
                with contextlib.suppress(OSError):
                    if os.getpgid(runner["pid"]) == runner["pid"] and runner["role"] == "process":
                        os.killpg(runner["pid"], number)
                    else:
                        os.kill(runner["pid"], number)

    def finished(self) -> bool:
        """Say whether the response is there."""
        return os.path.exists(self.path("response"))

    def finish(self, response: Message) -> bool:
        """Write the response, unless there is one already; say whether this one counts."""
        return write_whole(self.path("response"), response.chunks(), replace=False)

    def drop(self) -> None:
        """Remove the job with all that belongs to it."""
        gone = "{}.{}-{}.partial".format(self.directory, socket.gethostname(), os.getpid())
        with contextlib.suppress(OSError):
            os.rename(self.directory, gone)  # at once, as a request without its claim would be run again
        shutil.rmtree(gone, ignore_errors=True)
        self.drop_incoming()


def write_whole(path: str, chunks: List[Buffer], replace: bool = True, flush: bool = True) -> bool:
    """Write a file beside its place, flush it to disk, and put it there in one step.

    Without ``flush`` the kernel writes it to disk in its own time.  Without
    ``replace`` a file that is there already stays; returns whether the new one counts.
    """
    beside = "{}.{}.{}".format(path, socket.gethostname(), os.getpid())
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever umask the user's code has set
            for chunk in chunks:
                file.write(chunk)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if not replace:
            try:
                os.link(beside, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links; the claim has kept others away
                if os.path.exists(path):
                    return False
                os.rename(beside, path)
        else:
            os.rename(beside, path)
        return True
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)


def this_process() -> Dict[str, Any]:
    """Return what tells this process from any other: host, boot, pid and start time."""
    return {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(owner: Dict[str, Any]) -> Optional[bool]:
    """Say whether a process described by ``this_process`` lives; None where that cannot be told from here."""
    if owner.get("host") != socket.gethostname():
        return None
    if owner.get("boot") != _boot():
        return False
    pid = owner.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return bool(_started(pid) == owner.get("started"))


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
