"""The job directory: how a request is claimed once, and its response finished once.

    request     the request file
    claim/      made by the one process that runs it; ``claim/owner`` says which that is
    stdout      what it has printed so far
    stderr
    response    the response file, renamed into place when it is whole and on disk

A durable job, which nobody waits for, has two more while it runs:

    heartbeat   written again and again by its supervisor: a counter, and what the job uses
    cancel      its user wants it stopped

Once it has succeeded, only its response stays, as the file ``<id>.done`` beside.

Only ``mkdir``, ``link`` and ``rename`` decide, since home directories are NFS,
Lustre or GPFS: no locks, and no clocks compared between hosts.
"""

import contextlib
import errno
import json
import os
import re
import shutil
from typing import Any, BinaryIO, Callable, Dict, List, Optional

from .processes import HOST, is_alive, this_process
from .wire import Message

DONE = ".done"
"""Ends the name of the file that remembers a job whose directory has gone: its response, or empty once that was
fetched."""
_ATTEMPT = re.compile(r"(.+)\.([0-9]+)$")


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
            self._remove_directory()
        return os.path.isdir(self.directory)

    def receive(self) -> BinaryIO:
        """Open the request for writing, in an ``incoming`` folder of this process's own."""
        self._take_incoming()
        return open(os.open(os.path.join(self.incoming, "request"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")

    def _take_incoming(self) -> None:
        self.incoming = "{}.{}-{}.new".format(self.directory, HOST, os.getpid())
        os.makedirs(self.incoming, mode=0o700, exist_ok=True)

    @property
    def attempt(self) -> int:
        """Which attempt at a job this is, counted from 1; the id of a later one ends in ``.2`` and so on."""
        match = _ATTEMPT.match(self.id)
        return int(match.group(2)) if match else 1

    def attempts(self) -> "List[Job]":
        """Return this first attempt, and the later ones that there are."""
        found = [self]
        while True:
            later = Job("{}.{}".format(self.directory, len(found) + 1))
            if not later.exists():
                return found
            found.append(later)

    def next_attempt(self) -> "Job":
        """Return the attempt that follows this one, whether it is there or not."""
        match = _ATTEMPT.match(self.directory)
        return Job("{}.{}".format(match.group(1) if match else self.directory, self.attempt + 1))

    def try_again(self) -> "Job":
        """Make the next attempt, with the request of this one.  Raises FileNotFoundError where that is gone."""
        later = self.next_attempt()
        later._take_incoming()
        request = os.path.join(later.incoming, "request")
        try:
            os.link(self.path("request"), request)
        except FileExistsError:
            pass
        except FileNotFoundError:
            later.drop_incoming()
            raise
        except OSError:  # a file system without hard links
            shutil.copyfile(self.path("request"), request)
        later.accept()
        return later

    def exists(self) -> bool:
        """Say whether there is a job, running or finished, whose response has not been fetched."""
        return os.path.isdir(self.directory) or self._is_kept()

    def _is_kept(self) -> bool:
        """Say whether only the response is left."""
        try:
            return os.stat(self.directory + DONE).st_size > 0
        except OSError:
            return False

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

    def needs_runner(self) -> bool:
        """Say whether the job is here and nobody has begun to run it."""
        return os.path.isdir(self.directory) and not self.claimed() and not self.finished()

    def owner(self) -> Optional[Dict[str, Any]]:
        """Return the process that claimed the job, as ``this_process`` has it; None where there is none."""
        return _read_object(self.path("claim/owner"))

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
        return os.path.exists(self.path("response")) or self._is_kept()

    def open_response(self) -> BinaryIO:
        """Open the response.  Raises FileNotFoundError where there is none."""
        for path in (self.path("response"), self.directory + DONE):  # it moves from the first to the second
            with contextlib.suppress(FileNotFoundError):
                file = open(path, "rb")
                if os.fstat(file.fileno()).st_size > 0:
                    return file
                file.close()
        raise FileNotFoundError(errno.ENOENT, "there is no response", self.path("response"))

    def beat(self, pulse: Dict[str, Any]) -> None:
        """Write the heartbeat."""
        beside = "{}.{}-{}".format(self.path("heartbeat"), HOST, os.getpid())
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(pulse, file)
        os.rename(beside, self.path("heartbeat"))

    def pulse(self) -> Optional[Dict[str, Any]]:
        """Return what the latest heartbeat says; None where there is none."""
        return _read_object(self.path("heartbeat"))

    def ask_to_stop(self) -> None:
        """Note that the job is to be stopped, for its supervisor on whatever host."""
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(self.path("cancel"), os.O_WRONLY | os.O_CREAT, 0o600))

    def is_to_stop(self) -> bool:
        """Say whether its user has cancelled the job."""
        return os.path.exists(self.path("cancel"))

    def compact(self, succeeded: bool, keep_output: bool = False) -> None:
        """Leave of a finished job what is still wanted: the response, the request of one that failed."""
        if not succeeded or keep_output:
            shutil.rmtree(self.path("claim"), ignore_errors=True)
            for name in ("heartbeat", "progress") + (() if keep_output else ("stdout", "stderr")):
                with contextlib.suppress(OSError):
                    os.unlink(self.path(name))
            return
        try:
            os.link(self.path("response"), self.directory + DONE)
        except FileExistsError:
            return  # its response has been fetched, or another process does this
        except OSError:  # a file system without hard links
            os.rename(self.path("response"), self.directory + DONE)
        self._remove_directory()

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
            os.close(os.open(self.directory + DONE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        elif self._is_kept():
            os.unlink(self.directory + DONE)
        self._remove_directory()
        self.drop_incoming()

    def _remove_directory(self) -> None:
        gone = "{}.{}-{}.partial".format(self.directory, HOST, os.getpid())
        with contextlib.suppress(OSError):
            os.rename(self.directory, gone)  # at once, as a request without its claim would be run again
        remove_folder(gone)


def remove_folder(folder: str) -> None:
    """Remove a job's folder and what is in it, without a second look where it holds what is expected."""
    try:
        for name in ("request", "stdout", "stderr", "response", "claim/owner"):
            os.unlink(os.path.join(folder, name))
        os.rmdir(os.path.join(folder, "claim"))
        os.rmdir(folder)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def _read_object(path: str) -> Optional[Dict[str, Any]]:
    """Return the JSON object in a file; None where there is none."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read().decode())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
