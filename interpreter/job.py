"""The job directory: how a request is claimed once, and its response finished once.

    request     the request file
    claim/      made by the one process that runs it; ``claim/owner`` says which that is
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
from typing import Any, BinaryIO, Callable, Dict, List, Optional

from .processes import HOST, is_alive, this_process
from .wire import Message

DONE = ".done"
"""Ends the name of the empty file that remembers a job whose directory has gone."""


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

        A job of this id that is here already stays as it is, and the second request is
        dropped; so is one whose response has been fetched, see ``drop``.
        """
        try:
            os.rename(self.incoming, self.directory)
        except FileNotFoundError:
            pass
        except OSError:
            self.drop_incoming()
        if os.path.exists(self.directory + DONE):
            self.drop()
        return os.path.isdir(self.directory)

    def receive(self) -> BinaryIO:
        """Open the request for writing, in an ``incoming`` folder of this process's own."""
        self.incoming = "{}.{}-{}.new".format(self.directory, HOST, os.getpid())
        os.makedirs(self.incoming, mode=0o700, exist_ok=True)
        return open(os.open(os.path.join(self.incoming, "request"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")

    def drop_incoming(self) -> None:
        """Remove a request that has not become a job."""
        if os.path.isdir(self.incoming):
            shutil.rmtree(self.incoming, ignore_errors=True)

    def open_outputs(self) -> List[int]:
        """Make the output files, and return descriptors to read stdout and stderr as they grow."""
        return [os.open(self.path(name), os.O_RDONLY | os.O_CREAT, 0o600) for name in ("stdout", "stderr")]

    def claim(self) -> bool:
        """Become the one process that runs this job; False where another has become that.

        The claim comes into its place with its owner's name in it, so there is none without.
        """
        aside = "{}.{}-{}".format(self.path("claim"), HOST, os.getpid())
        process = this_process()
        os.mkdir(aside, 0o700)
        try:
            with open(os.path.join(aside, "owner"), "w") as file:
                json.dump(process, file)
            os.rename(aside, self.path("claim"))
            return True
        except OSError:  # it stands; or the answer was lost on its way from a file server, so look
            shutil.rmtree(aside, ignore_errors=True)
            owner = self.owner()
            if owner is None:
                raise
            return owner == process

    def claimed(self) -> bool:
        """Say whether a process has claimed the job."""
        return os.path.isdir(self.path("claim"))

    def owner(self) -> Optional[Dict[str, Any]]:
        """Return the process that claimed the job, as ``this_process`` has it; None where there is none."""
        try:
            with open(self.path("claim/owner"), "rb") as file:
                owner = json.loads(file.read().decode())
        except (OSError, ValueError):
            return None
        return owner if isinstance(owner, dict) else None

    def runs(self) -> Optional[bool]:
        """Say whether the process that claimed the job lives; None where that cannot be told from here."""
        owner = self.owner()
        return None if owner is None else is_alive(owner)

    def signal(self, number: int) -> None:
        """Send a signal to the job's process and its children, where they live on this host."""
        owner = self.owner()
        if owner is not None and is_alive(owner):
            with contextlib.suppress(OSError):
                os.killpg(owner["pid"], number)

    def finished(self) -> bool:
        """Say whether the response is there."""
        return os.path.exists(self.path("response"))

    def finish(self, response: Message, written: Callable[[], None] = lambda: None) -> bool:
        """Write the response, unless there is one already; say whether this one counts.

        It is written beside its place, flushed to disk, and put there in one step.
        ``written`` is called before it is flushed: a client that waits gets it from
        there, and is not kept waiting for the disk.
        """
        path = self.path("response")
        beside = self.written_by(os.getpid())
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                os.fchmod(file.fileno(), 0o600)  # whatever umask the user's code has set
                for chunk in response.chunks():
                    file.write(chunk)
                file.flush()
                written()
                os.fsync(file.fileno())
            try:
                os.link(beside, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links; the claim has kept others away
                if os.path.exists(path):
                    return False
                os.rename(beside, path)
            return True
        finally:
            with contextlib.suppress(OSError):
                os.unlink(beside)

    def written_by(self, pid: int) -> str:
        """Return where a process of this host writes its response before that is put in its place."""
        return "{}.{}.{}".format(self.path("response"), HOST, pid)

    def drop(self, remember: bool = False) -> None:
        """Remove the job with all that belongs to it.

        With ``remember`` its id stays: the request was sent more than once, and what
        is still under way of it must not make a job again.
        """
        if remember:
            os.close(os.open(self.directory + DONE, os.O_WRONLY | os.O_CREAT, 0o600))
        gone = "{}.{}-{}.partial".format(self.directory, HOST, os.getpid())
        with contextlib.suppress(OSError):
            os.rename(self.directory, gone)  # at once, as a request without its claim would be run again
        remove_folder(gone)
        self.drop_incoming()


def remove_folder(folder: str) -> None:
    """Remove a job's folder and what is in it, without a second look where it holds what is expected."""
    try:
        for name in ("request", "stdout", "stderr", "response", "claim/owner"):
            os.unlink(os.path.join(folder, name))
        os.rmdir(os.path.join(folder, "claim"))
        os.rmdir(folder)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
